import { assert } from "../../../base/assert.ts";
import type { Tcb } from "../tcb.ts";
import { CONGESTION_CONTROLS, type CongestionControl, type CongestionControlName } from "./congestion.ts";
import { cubic } from "./cubic.ts";
import { newReno } from "./new_reno.ts";

const BY_NUMBER: readonly CongestionControl[] = [cubic, newReno];
assert(BY_NUMBER.every(({ name }, number) => name === CONGESTION_CONTROLS[number]));

/** The controller of a connection. */
export function congestionOf(tcb: Tcb): CongestionControl {
  return BY_NUMBER[tcb.congestion]!;
}

/** A controller's number, for `Tcb.congestion`. */
export function congestionNumber(name: CongestionControlName): number {
  const number = CONGESTION_CONTROLS.indexOf(name);
  assert(number >= 0, `There is no congestion control "${name}"`);
  return number;
}
