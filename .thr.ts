import { cubic } from "./net/tcp/congestion/cubic.ts";
import { goodput } from "./tests/net/tcp/throughput_world.ts";
const acked = cubic.acked;
let t0 = 0, last = 0;
(cubic as any).acked = (tcb: any, n: number, now: number) => {
  acked(tcb, n, now);
  t0 ||= now;
  if (now - last > 10 && now - t0 < 900) {
    last = now;
    console.log(
      (now - t0).toFixed(1),
      "cwnd",
      (tcb.cwnd / 1448).toFixed(0),
      "ss",
      (tcb.ssthresh / 1448).toFixed(0),
      "hy",
      tcb.hystart,
      "srtt",
      tcb.srttUs,
      "min",
      tcb.hystartMinUs,
      "last",
      tcb.hystartLastMinUs,
      "n",
      tcb.hystartSamples,
      "css",
      tcb.hystartCssRounds,
      "rec",
      tcb.recovery,
      "lim",
      tcb.cwndLimited,
      "wnd",
      tcb.sndWnd,
    );
  }
};
const orig = cubic.thresholdAfterLoss;
(cubic as any).thresholdAfterLoss = (tcb: any, f: number, now: number) => {
  console.log("LOSS at", now - t0, "cwnd", tcb.cwnd / 1448, "flight", f / 1448);
  return orig(tcb, f, now);
};
console.log(await goodput({ loss: 0, rttMs: Number(process.argv[2]), seed: 1, seconds: 2 }));
