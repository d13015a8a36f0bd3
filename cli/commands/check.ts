import type { Command } from "../command.ts";
import { storeCheck } from "./store/check.ts";

/** `torpor check`: what one wants most often of `torpor store`. */
export const check: Command = { ...storeCheck, summary: "the same as torpor store check" };
