import type { LinkedVerdict } from "./linked.ts";

/** What a step of a compiled rule says, as a number. From `Jump` on: twice the chain's number, and one more for goto. */
export const Code = {
  Next: 0,
  /** The rule ends, the next one is read. */
  Break: 1,
  Accept: 2,
  Drop: 3,
  Return: 4,
  Reject: 5,
  Queue: 6,
  Nat: 7,
  Jump: 8,
} as const;

/** The code of a verdict. */
export function codeOf(verdict: LinkedVerdict): number {
  switch (verdict.kind) {
    case "accept":
      return Code.Accept;
    case "drop":
      return Code.Drop;
    case "continue":
      return Code.Next;
    case "return":
      return Code.Return;
    case "jump":
      return Code.Jump + 2 * verdict.chain;
    case "goto":
      return Code.Jump + 2 * verdict.chain + 1;
  }
}

/** And back. */
export function verdictOf(code: number): LinkedVerdict {
  switch (code) {
    case Code.Accept:
      return { kind: "accept" };
    case Code.Drop:
      return { kind: "drop" };
    case Code.Next:
      return { kind: "continue" };
    case Code.Return:
      return { kind: "return" };
    default: {
      const to = code - Code.Jump;
      return { kind: (to & 1) === 0 ? "jump" : "goto", chain: to >> 1 };
    }
  }
}
