import type { CaptureFed } from "../../../checkpoint/replay/capture.ts";
import { CapturedIp } from "../../../checkpoint/replay/captured_packet.ts";
import { EventCode } from "../../../checkpoint/replay/event.ts";
import { ReplayReader } from "../../../checkpoint/replay/reader.ts";
import type { CapturedPacket } from "../../../net/link/pcapng_reader.ts";
import { TcpFlag } from "../../../net/wire/tcp.ts";

/** What our stack has sent from a port, by peer: each byte in its place, however often it was sent. */
export function streamsOf({ recorder }: CaptureFed, port: number): Map<string, Uint8Array> {
  const streams = new Map<string, number[]>();
  const first = new Map<string, number>();
  for (const { value: [code, , frame] } of new ReplayReader(recorder.bytes()).events()) {
    if (code !== EventCode.Sent) continue;
    const ip = CapturedIp.of({ bytes: (frame as Uint8Array).slice(), linkType: 101 } as CapturedPacket);
    const tcp = ip?.tcp;
    if (tcp === undefined || tcp.sourcePort !== port) continue;
    const peer = ip!.destination;
    if (tcp.has(TcpFlag.SYN)) {
      first.set(peer, tcp.sequence);
      streams.set(peer, []);
    }
    const at = (tcp.sequence - first.get(peer)! - 1) | 0;
    tcp.data.forEach((byte, index) => streams.get(peer)![at + index] = byte);
  }
  return new Map([...streams].map(([peer, bytes]) => [peer, Uint8Array.from(bytes)]));
}
