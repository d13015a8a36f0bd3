import fs from "node:fs";
import { MAGIC } from "../../checkpoint/image/frame.ts";

/** Whether a file begins as our images do. */
export function isImage(path: string): boolean {
  if (!(fs.statSync(path, { throwIfNoEntry: false })?.isFile() ?? false)) return false;
  const file = fs.openSync(path, "r");
  try {
    const start = new Uint8Array(MAGIC.length);
    fs.readSync(file, start);
    return MAGIC.every((byte, at) => start[at] === byte);
  } finally {
    fs.closeSync(file);
  }
}
