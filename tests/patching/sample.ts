import { derivePatch } from "../../patching/build/derive.ts";
import type { Patch } from "../../patching/image/patch.ts";
import { signPatch } from "../../patching/image/sign.ts";

const OLD = `import { hello as hi } from "./hi.ts";
let said = 0;
export class Room {
  say(text: string) { said++; return text; }
  async history({ since }: { since: number }) { return [hi, since].map((each) => each); }
}
export const counter = (step: number) => { let n = 0; return () => n += step; };
`;
const NEW = `${
  OLD.replace("return text;", "return text.toUpperCase() + seen.size;")
    .replace("since]", "since, { said }, import.meta.url]")
    .replace("=> n += step", "=> n += step + 1")
}const seen = new Map<string, number>();
function seenBy(who: string) { return seen.get(who) ?? hi(who); }
`;

/** Keys for nothing else than these tests. */
const KEYS = {
  privateKey: "MC4CAQAwBQYDK2VwBCIEIKVrummLnAd8SUqOecgVQC1OVx+oQGzwePzir+Qu10mY",
  publicKey: "8esOd5+jkJNOE4QKF71OYDT93w2wrD3nHdg1iSqZABY=",
};

/** A patch of WebAssembly; its code is none, as no image looks into it. */
export function sampleWasmPatch(): Patch {
  return {
    ...{ target: "wasm", name: "tens", version: "1", description: "", safe: [], units: [] },
    wasm: [{
      ...{
        module: "counter.wasm",
        base: "ab".repeat(32),
        result: "cd".repeat(32),
        codeHash: "ef".repeat(32),
      },
      functions: [{ name: "step", type: "(i32) -> i32", oldHash: "01".repeat(32) }],
      symbols: [{ name: "counter", kind: "data", type: "" }, {
        name: "scale",
        kind: "function",
        type: "() -> ()",
      }],
      code: Uint8Array.of(0, 97, 115, 109),
    }],
  };
}

/** A patch with something of each kind; Ed25519 is deterministic, so it is the same every time. */
export async function samplePatch(): Promise<Patch> {
  const { patch } = derivePatch("chat/rooms.ts", OLD, NEW, {
    name: "louder",
    version: "2",
    description: "Rooms shout",
    safe: ["Room.prototype.history"],
  });
  return await signPatch(patch!, KEYS);
}
