import type { Link } from "../../net/link/link.ts";
import { ReconnectingLink } from "../../net/link/reconnecting.ts";
import { openTun } from "../../net/link/tun.ts";
import { listenUnix } from "../../net/link/unix.ts";

/** What a command's host speaks through. */
export interface Wire {
  readonly link: Link;
  /** Ends what stands behind the link, when the host has closed that. */
  close(): void;
}

/**
 * Opens what `--tun` or `--unix` say, the interface tor0 where neither does.
 * @throws {LinkError}
 */
export async function openWire(
  { tun, unix }: { tun?: string | undefined; unix?: string | undefined },
): Promise<Wire> {
  if (unix !== undefined) return await unixLink(unix);
  return { link: await openTun({ name: tun ?? "tor0" }), close: () => {} };
}

async function unixLink(path: string): Promise<Wire> {
  const link = new ReconnectingLink();
  const listener = await listenUnix({ path, onLink: (carrier) => link.attach(carrier) });
  return { link, close: () => void listener.close() };
}
