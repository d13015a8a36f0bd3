import type { TcpConfig } from "./config.ts";
import { hystartSample } from "./congestion/hystart.ts";
import type { Tcb } from "./tcb.ts";

/** A round trip longer than this is an echo of something else. */
const RTT_MS_MAX = 600_000;

/** Takes a round-trip sample (RFC 6298 section 2) and ends the backoff; one that cannot be is ignored. */
export function rttSample(tcb: Tcb, rttMs: number, config: TcpConfig): void {
  if (rttMs < 0 || rttMs > RTT_MS_MAX) return;
  const rttUs = Math.round(rttMs * 1000);
  hystartSample(tcb, rttUs);
  if (tcb.srttUs < 0) {
    tcb.srttUs = rttUs;
    tcb.rttvarUs = rttUs >> 1;
  } else {
    const errorUs = Math.abs(tcb.srttUs - rttUs);
    tcb.rttvarUs = Math.round((3 * tcb.rttvarUs + errorUs) / 4);
    tcb.srttUs = Math.round((7 * tcb.srttUs + rttUs) / 8);
  }
  tcb.backoff = 0;
  // The clock's granularity is 1 ms; the floor is Linux's 200 ms where the RFC says 1 s.
  const rtoMs = tcb.srttUs / 1000 + Math.max(1, (4 * tcb.rttvarUs) / 1000);
  tcb.rtoMs = Math.min(config.rtoMaxMs, Math.max(config.rtoMinMs, Math.ceil(rtoMs)));
}

/** The timeout in force: the estimate, doubled once per unanswered retransmission (section 5.5). */
export function rtoBackedOffMs(tcb: Tcb, config: TcpConfig): number {
  return Math.min(config.rtoMaxMs, tcb.rtoMs * 2 ** Math.min(tcb.backoff, 16));
}
