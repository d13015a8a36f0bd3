import type { Link } from "../../net/link/link.ts";
import { ReconnectingLink } from "../../net/link/reconnecting.ts";
import { openTun } from "../../net/link/tun.ts";
import { listenUnix } from "../../net/link/unix.ts";

/**
 * Opens the link of a command's host: what `--tun` or `--unix` say, the interface tor0 where neither does.
 * @throws {LinkError}
 */
export async function openWire(
  { tun, unix }: { tun?: string | undefined; unix?: string | undefined },
): Promise<Link> {
  if (unix !== undefined) return await unixLink(unix);
  return await openTun({ name: tun ?? "tor0" });
}

async function unixLink(path: string): Promise<Link> {
  const link: ReconnectingLink = new ReconnectingLink({ end: () => listener.close() });
  const listener = await listenUnix({ path, onLink: (carrier) => link.attach(carrier) });
  return link;
}
