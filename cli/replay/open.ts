import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { type CaptureFed, feedCapture, hostsOf } from "../../checkpoint/replay/capture.ts";
import { ReplayError } from "../../checkpoint/replay/event.ts";
import { ReplayReader } from "../../checkpoint/replay/reader.ts";
import { type OpenRecording, openRecording } from "../../checkpoint/replay/replay_file.ts";
import { isPcap, isPcapng } from "../../net/link/pcap_reader.ts";
import { packetsIn } from "./capture_file.ts";
import { InputError, type Terminal } from "../command.ts";
import type { ReplayOptions } from "./options.ts";

/** Hosts that are proposed. */
const PROPOSED_MAX = 5;

/**
 * Opens a recording, or makes one of a capture.
 * @throws {InputError} When the file is neither, or cannot be read.
 */
export function openAny(options: ReplayOptions, terminal: Terminal): OpenRecording {
  const { file } = options;
  const magic = firstBytes(file);
  if (magic.length === 0) throw new InputError(`${file}: the file is empty`);
  try {
    if (isPcap(magic) || isPcapng(magic)) return openCapture(options, terminal);
    if (options.asHost.length > 0) {
      throw new InputError(`${file}: --as-host is for captures, and this is none`);
    }
    return openRecording(file);
  } catch (error) {
    if (error instanceof ReplayError) {
      throw new InputError(`${file}: ${error.message}`);
    }
    throw error;
  }
}

function openCapture({ file, asHost, record, tcp }: ReplayOptions, terminal: Terminal): OpenRecording {
  const packets = packetsIn(file, (what) => terminal.err(`torpor replay: ${what}\n`));
  if (asHost.length === 0) {
    const hosts = hostsOf(packets).slice(0, PROPOSED_MAX);
    const proposal = hosts.length === 0 ? "there is no IP packet in it" : `try ${hosts.join(", or ")}`;
    throw new InputError(
      `${file}: a capture is fed to a stack in a host's place: which, with --as-host? ${proposal}`,
    );
  }
  let fed: CaptureFed;
  try {
    fed = feedCapture(packets, { host: asHost, tcp, about: { capture: file, host: [...asHost] } });
  } catch (error) {
    if (error instanceof TypeError) throw new InputError(`--as-host: ${error.message}`);
    throw error;
  }
  const recording = fed.recorder.bytes();
  if (record !== undefined) writeAll(record, recording);
  terminal.err(fedText(fed));
  return { reader: new ReplayReader(recording), close: () => {} };
}

function fedText({ fed, followed, skipped, cut, sent, connections, unbegun }: CaptureFed): string {
  const parts = [
    `${fed} packets fed`,
    `${followed} of the host followed`,
    `${sent} sent by our stack`,
    `${connections} connections`,
    ...(unbegun > 0 ? [`${unbegun} whose beginning is not in the capture`] : []),
    ...(cut > 0 ? [`${cut} packets cut short by the capture and left out`] : []),
    ...(skipped > 0 ? [`${skipped} packets of others`] : []),
  ];
  return `torpor replay: ${parts.join(", ")}\n`;
}

function writeAll(path: string, bytes: Uint8Array): void {
  const file = openSync(path, "w", 0o600);
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
  } finally {
    closeSync(file);
  }
}

function firstBytes(path: string): Uint8Array<ArrayBuffer> {
  const file = openSync(path, "r");
  try {
    const bytes = new Uint8Array(4);
    return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, 0));
  } finally {
    closeSync(file);
  }
}
