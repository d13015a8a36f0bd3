import { runtime } from "../../base/runtime.ts";

interface SampledNode {
  readonly callFrame: { readonly functionName: string; readonly url: string };
  readonly selfSize: number;
  readonly children: readonly SampledNode[];
}

/** Bytes between two samples: so few that some thousand packets show a site that allocates at each tenth of them. */
const SAMPLE_BYTES = 512;

/**
 * Who allocates while `work` runs, as V8's sampling heap profiler has it: bytes by function and file, the most first.
 * `undefined` where there is none.
 */
export async function allocationSites(
  work: () => void | Promise<void>,
): Promise<[site: string, bytes: number][] | undefined> {
  if (runtime !== "node") return undefined;
  const { Session } = await import("node:inspector/promises");
  const session = new Session();
  session.connect();
  await session.post("HeapProfiler.startSampling", {
    samplingInterval: SAMPLE_BYTES,
    // Not in @types/node: without it only what survives is told.
    ...{ includeObjectsCollectedByMinorGC: true, includeObjectsCollectedByMajorGC: true },
  });
  await work();
  const { profile } = await session.post("HeapProfiler.stopSampling");
  session.disconnect();
  const bytes = new Map<string, number>();
  const add = ({ callFrame, selfSize, children }: SampledNode): void => {
    const { functionName, url } = callFrame;
    const site = `${functionName || "(nameless)"} ${url.slice(url.lastIndexOf("/") + 1)}`.trim();
    bytes.set(site, (bytes.get(site) ?? 0) + selfSize);
    for (const child of children) add(child);
  };
  add(profile.head);
  return [...bytes].sort((a, b) => b[1] - a[1]);
}
