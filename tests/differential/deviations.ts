import type { Deviation } from "./deviations/case.ts";
import { closing } from "./deviations/closing.ts";
import { handshake } from "./deviations/handshake.ts";
import { segments } from "./deviations/segments.ts";
import { sending } from "./deviations/sending.ts";

export type { Deviation };

/** Every known difference between Linux and Torpor; the first that explains one counts. */
export const deviations: readonly Deviation[] = [...handshake, ...closing, ...segments, ...sending];
