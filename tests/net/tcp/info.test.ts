import { expect, test } from "vitest";
import { linuxTcpInfo, type TcpInfo, tcpInfo, TcpInfoOption } from "../../../net/tcp/info.ts";
import { Script } from "./script.ts";

function info(script: Script): TcpInfo {
  return tcpInfo(script.stack.tcp, script.tcb, script.nowMs);
}

test("tcp_info has Linux's names, units and state numbers", () => {
  const script = new Script();
  script.connect();
  expect(info(script)).toMatchObject({ state: 2, options: 1, rto: 1_000_000, sndMss: 536 });
  script.learn();
  script.wait(100);
  script.turn("S. 0 ack 1 win 65535 <mss 1460,TS 700 1,wscale 7>");
  script.learn();
  expect(info(script)).toMatchObject({
    state: 1,
    caState: 0,
    options: TcpInfoOption.timestamps | TcpInfoOption.windowScale,
    sndWscale: 7,
    rcvWscale: 7,
    sndMss: 1448,
    advmss: 1448,
    pmtu: 1500,
    sndCwnd: 10,
    sndSsthresh: 0x7fff_ffff,
    rtt: 100_000,
    sndWnd: 65535,
    unacked: 0,
  });
  script.write(1448 * 12);
  expect(info(script)).toMatchObject({ unacked: 10, notsentBytes: 2 * 1448, bytesSent: 10 * 1448 });
  script.wait(250);
  expect(info(script).lastDataSent).toBe(250);
  const linux = linuxTcpInfo(info(script));
  expect(linux).toMatchObject({ tcpi_snd_cwnd: 10, tcpi_notsent_bytes: 2 * 1448, tcpi_ca_state: 0 });
  expect(Object.keys(linux)).toEqual(expect.arrayContaining([
    ..."state ca_state retransmits probes backoff options snd_wscale rcv_wscale rto ato snd_mss rcv_mss"
      .split(" "),
    ..."unacked sacked lost retrans last_data_sent last_data_recv last_ack_recv pmtu rcv_ssthresh rtt".split(
      " ",
    ),
    ..."rttvar snd_ssthresh snd_cwnd advmss reordering rcv_rtt rcv_space total_retrans bytes_acked".split(
      " ",
    ),
    ..."bytes_received segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out busy_time".split(
      " ",
    ),
    ..."rwnd_limited sndbuf_limited delivered delivered_ce bytes_sent bytes_retrans dsack_dups".split(" "),
    ..."reord_seen rcv_ooopack snd_wnd rcv_wnd".split(" "),
  ].map((name) => `tcpi_${name}`)));
  script.shutdown();
  expect(info(script).state).toBe(1); // the FIN waits behind data
});
