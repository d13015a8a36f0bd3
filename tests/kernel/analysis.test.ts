import { writeFileSync } from "node:fs";
import { expect } from "vitest";
import { judge } from "../support/judge.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { Capture } from "./capture.ts";
import { INTERFACE, KERNEL_ADDRESS, KernelServer, sleep, STACK_ADDRESS } from "./kernel_server.ts";

const NEEDS = ["root", "tun", "ip", "curl", "nc", "tcpdump", "tshark"] as const;
const NEVER_IDLE_MS = 3_600_000;
/** Lengths around one segment, around windows, and one long enough for everything to settle. */
const LENGTHS = [1, 1_447, 1_448, 1_449, 14_480, 65_536, 1_000_000, 20_000_000];
/**
 * When a machine holds our process up for so long, either end may well send again, a probe of the tail after two round
 * trips (RFC 8985 section 7.2): such a capture says nothing.
 */
const STALL = "tcp.time_delta > 0.01";
const ATTEMPTS = 10;

for (const [mode, packets] of [["bare", 10_000], ["tun", 200]] as const) {
  judge(
    `tshark's analysis (${mode}) has no remark on a run without loss: nothing is sent twice, out of order, or beside the window`,
    NEEDS,
    async () => {
      for (let attempt = 1;; attempt++) {
        using folder = new TemporaryFolder();
        using server = new KernelServer("node", folder.path, NEVER_IDLE_MS, mode);
        await server.start();
        const capture = await Capture.start(server.netns, INTERFACE, folder.file("capture.pcap"));
        for (const length of LENGTHS) {
          await server.netns.finished(
            "curl",
            "-sS",
            "-o",
            "/dev/null",
            `http://${STACK_ADDRESS}/bytes/${length}`,
          );
          const body = folder.file("body");
          writeFileSync(body, new Uint8Array(length));
          await server.netns.finished("curl", "-sS", "-T", body, `http://${STACK_ADDRESS}/`);
        }
        await server.netns.finished("sh", "-c", `printf hello | nc -N ${STACK_ADDRESS} 7`);
        await server.netns.finished("sh", "-c", `nc -z -w 2 ${STACK_ADDRESS} 81`); // refused
        await sleep(500); // what is sent again by mistake
        await capture.stop();
        // Either may fill a window faster than it is read out: curl ours, and with trains we curl's. tshark says so of
        // the segment that does, of the ACK that says so, and of the one that opens it again: that is what should happen
        // then, and nothing else is.
        const full = "!tcp.analysis.window_full && !tcp.analysis.zero_window && !tcp.analysis.window_update";
        const ours = await capture.lines(`tcp.analysis.flags && ip.src == ${STACK_ADDRESS} && ${full}`);
        const kernels = await capture.lines(`tcp.analysis.flags && ip.src == ${KERNEL_ADDRESS} && ${full}`);
        if (
          ours.length + kernels.length > 0 && attempt < ATTEMPTS && (await capture.lines(STALL)).length > 0
        ) continue;
        expect({ ours, kernels }).toEqual({ ours: [], kernels: [] });
        expect((await capture.lines("tcp")).length).toBeGreaterThan(packets);
        return;
      }
    },
    300_000,
  );
}
