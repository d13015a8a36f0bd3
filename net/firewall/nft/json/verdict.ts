import { checkName } from "../read/names.ts";
import type { Source } from "../read/raw.ts";
import type { Verdict } from "../schema.ts";
import { Fields, single } from "./fields.ts";

export const VERDICTS: readonly string[] = ["accept", "drop", "continue", "return", "jump", "goto"];

export function readVerdict(source: Source, value: unknown, at: string): Verdict {
  const [name, of, path] = single(source, value, at);
  if (name !== "jump" && name !== "goto") return { [name]: null } as unknown as Verdict;
  const fields = new Fields(source, of, path);
  const target = checkName(source, fields.string("target"), fields.at("target"));
  fields.end();
  return name === "jump" ? { jump: { target } } : { goto: { target } };
}
