import { Buffer } from "node:buffer";
import { ControlError } from "./control_error.ts";

/** The longest answer: an image of 16 MiB in words is shortened long before. */
const LINE_MAX = 64 << 20;

/** What a host says: an object to a line. */
export type Answer = Record<string, unknown>;

/**
 * The answers in what a control socket sends, until it goes away, which is no error.
 * @throws {ControlError} `failed`, for what is no answer.
 */
export async function* answersOf(socket: AsyncIterable<Uint8Array>): AsyncGenerator<Answer, void, void> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const piece of socket) {
      let from = 0;
      for (let end = piece.indexOf(10); end >= 0; end = piece.indexOf(10, from)) {
        pieces.push(piece.subarray(from, end));
        yield answerIn(Buffer.concat(pieces).toString("utf8"));
        pieces.length = bytes = 0;
        from = end + 1;
      }
      pieces.push(piece.subarray(from));
      bytes += piece.length - from;
      if (bytes > LINE_MAX) throw new ControlError("failed", `An answer has more than ${LINE_MAX} bytes`);
    }
  } catch (error) {
    if (error instanceof ControlError) throw error; // else it has gone away
  }
}

function answerIn(line: string): Answer {
  let answer: unknown;
  try {
    answer = JSON.parse(line);
  } catch {
    // As one that is of another type.
  }
  if (typeof answer === "object" && answer !== null && !Array.isArray(answer)) return answer as Answer;
  throw new ControlError(
    "failed",
    `Cannot understand the answer "${line.slice(0, 40)}": no host of ours said it`,
  );
}
