import { CaState, type Tcb } from "./tcb.ts";

/** Whether every ACK sets the congestion window anew (RFC 6937). */
export function inCwndReduction(tcb: Tcb): boolean {
  return tcb.caState === CaState.cwr || tcb.caState === CaState.recovery;
}
