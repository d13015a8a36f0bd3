import { readFileSync } from "node:fs";
import { type CapturedPacket, PcapngError, readCapture } from "../../net/link/pcap.ts";
import { InputError } from "../command.ts";

/**
 * The packets of a capture. One whose end is missing, as when a capturing program was killed, is read as far as it
 * goes, as Wireshark does.
 *
 * @param onCut Told where the file ends within a packet, in words.
 * @throws {InputError} While iterating, when a byte cannot be understood.
 */
export function* packetsIn(path: string, onCut: (what: string) => void): Generator<CapturedPacket> {
  try {
    yield* readCapture(new Uint8Array(readFileSync(path)));
  } catch (error) {
    if (!(error instanceof PcapngError)) throw error;
    if (!error.cutShort) throw new InputError(`${path}: ${error.message}`);
    onCut(`${path} was cut short at byte ${error.offset}: read up to there`);
  }
}
