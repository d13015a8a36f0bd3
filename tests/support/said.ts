import type { Readable } from "node:stream";

/**
 * Waits until a program has said what `pattern` finds, from now on; rejects when it ends without. What it says afterwards
 * is thrown away.
 */
export function said(stream: Readable, pattern: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let text = "";
    const hear = (piece: string): void => {
      text += piece;
      const found = pattern.exec(text);
      if (found === null) return;
      stream.off("data", hear).off("end", end).resume();
      resolve(found);
    };
    const end = (): void => reject(new Error(`Has not said ${pattern}, but ${JSON.stringify(text)}`));
    stream.setEncoding("utf8").on("data", hear).once("end", end);
  });
}
