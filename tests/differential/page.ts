import { deviations } from "./deviations.ts";
import type { FuzzReport } from "./report.ts";

export const PAGE_PATH: URL = new URL("../../docs/differential.md", import.meta.url);
export const RECORD_PATH: URL = new URL("./record.json", import.meta.url);

/** docs/differential.md: what the comparison is, and where the two differ. */
export function differentialPage(record: FuzzReport): string {
  const rows = deviations.map(({ name, section, reason }) =>
    `| ${name} | ${section} | ${reason} | ${record.explained[name] ?? 0} |`
  );
  const total = Object.values(record.explained).reduce((sum, count) => sum + count, 0);
  return `# Torpor beside Linux

\`npm run fuzz:kernel\` plays the same segments and calls to the kernel of the machine and to a stack of ours, and
compares, segment by segment, what both send at once and later (flags, numbers, SACK blocks, options, whether the
window is open), what calls return, and the states with the bytes unread and unacknowledged. Segments are drawn
around the numbers that matter: RCV.NXT and the window's edges, SND.UNA and SND.NXT, flags in every combination,
timestamps old, new and absent, data that overlaps, options that are broken. Windows and the times of
retransmissions are not compared. See [tests/differential](../tests/differential/).

A difference is a mistake of ours, or a line of this table, which
[tests/differential/deviations](../tests/differential/deviations.ts) holds as code; anything else fails the run,
which then prints the shortest story that shows it. A line is not weaker than the RFC that it names: where it
says what we do, we do what the RFC says.

The counts are those of ${record.segments.toLocaleString("en")} segments in ${
    record.stories.toLocaleString("en")
  }
stories against Linux ${record.kernel} (seed ${record.seed}): ${total.toLocaleString("en")} differences with a
reason, ${record.unexplained} without one${
    record.asleep > 0 ? "; every story was also played with our connections asleep before each segment" : ""
  }.

Some lines have become narrower since that run. A second million (seed 20261130) then met one kind of difference
more, 14 times, which "a segment at the right edge of the window" now explains.

| difference | section | who does what | met |
| --- | --- | --- | --- |
${rows.join("\n")}
`;
}
