import { expect, test } from "vitest";
import { linuxTcpInfo, type TcpInfo, tcpInfo, TcpInfoOption } from "../../../net/tcp/info.ts";
import { Script } from "./script.ts";

function info(script: Script): TcpInfo {
  return tcpInfo(script.stack.tcp, script.tcb, script.nowMs);
}

test("tcp_info has Linux's names, units and state numbers", () => {
  const script = new Script();
  script.connect();
  expect(info(script)).toMatchObject({ state: 2, options: 3, rto: 1_000_000, sndMss: 536 });
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
  expect(info(script).state).toBe(4); // although the FIN waits behind data (RFC 9293 section 3.10.4)
});

test("a sender whose congestion window is full as well does not wait for the peer's window", () => {
  const script = new Script().accepted("mss 1000", 10_000);
  script.write(20_000);
  script.wait(100);
  expect(info(script)).toMatchObject({ unacked: 10, sndCwnd: 10, rwndLimited: 0, busyTime: 100_000 });
  script.turn(". 1 ack 10001 win 10000");
  script.wait(50);
  expect(info(script)).toMatchObject({ unacked: 10, sndCwnd: 20, rwndLimited: 0, notsentBytes: 0 });
  script.write(1_000); // now there is room for it in the congestion window alone
  script.wait(50);
  expect(info(script)).toMatchObject({ rwndLimited: 50_000, notsentBytes: 1_000 });
});

test("tcp_info counts segments, bytes and what the sender waited for", () => {
  const script = new Script();
  script.accepted("mss 1000", 2000);
  script.write(5000);
  script.out(". 1:1001 ack 1", ". 1001:2001 ack 1");
  script.wait(100);
  expect(info(script)).toMatchObject({ rwndLimited: 100_000, busyTime: 100_000, notsentBytes: 3000 });
  script.turn(". 1 ack 2001 win 5000");
  script.wait(50);
  script.out(". 2001:3001 ack 1", "P. 3001:4001 ack 1", "P. 4001:5001 ack 1");
  expect(info(script)).toMatchObject({
    rwndLimited: 100_000,
    busyTime: 150_000,
    bytesAcked: 2000,
    bytesSent: 5000,
    segsOut: 5,
    dataSegsOut: 5,
    segsIn: 2, // the SYN came before there was a connection
    dataSegsIn: 0,
  });
  script.turn(". 1 ack 5001");
  script.wait(1000);
  expect(info(script)).toMatchObject({ busyTime: 150_000, bytesAcked: 5000, lastAckRecv: 1000 });
  script.turn("P. 1:301 ack 5001");
  script.turn("P. 601:901 ack 5001");
  script.wait(70);
  expect(info(script)).toMatchObject({
    bytesReceived: 300,
    rcvOoopack: 1,
    dataSegsIn: 2,
    segsIn: 5,
    rcvMss: 536,
    lastDataRecv: 70,
  });
  script.turn("P. 301:1301 ack 5001");
  expect(info(script)).toMatchObject({ bytesReceived: 1300, rcvMss: 1000 });
});
