import type { Command } from "../command.ts";
import { group } from "../dispatch.ts";
import { criuExport } from "./criu/export.ts";
import { criuImport } from "./criu/import.ts";

/** `torpor criu`. */
export const criu: Command = group(
  "criu",
  "exchanges connections with CRIU's images",
  "Turns sleeping connections into CRIU's images (files.img, tcp-stream-*.img;\ncriu.org) and back.",
  [criuExport, criuImport],
);
