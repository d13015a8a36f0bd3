import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "scripts");

/** Our own scripts, by file name. */
export function ownScripts(): { name: string; text: string }[] {
  const names = readdirSync(FOLDER).filter((name) => name.endsWith(".pkt")).sort();
  return names.map((name) => ({ name, text: readFileSync(join(FOLDER, name), "utf8") }));
}
