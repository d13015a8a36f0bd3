import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { expect, test } from "vitest";
import { denoNamespace } from "../../serve/deno/namespace.ts";
import { realPair, SERVER } from "../net/socket/world.ts";

test("a program written for Deno has the machine's files and environment, and the stack's network, on every runtime", async () => {
  const { server, client } = realPair();
  const Deno = await denoNamespace(server);
  const folder = mkdtempSync(join(tmpdir(), "torpor-test-"));
  try {
    // The program.
    const path = `${folder}/greeting.txt`;
    await Deno.writeTextFile(path, "hello from ");
    await using listening = Deno.serve({ port: 80, onListen: () => {} }, async () => {
      return new Response((await Deno.readTextFile(path)) + Deno.build.os);
    });
    expect(listening.addr).toMatchObject({ hostname: "0.0.0.0", port: 80 });

    const { connect } = await denoNamespace(client);
    using conn = await connect({ hostname: SERVER, port: 80 });
    await conn.write(new TextEncoder().encode("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
    const answer = await new Response(conn.readable).text();
    expect(answer).toContain(`hello from ${Deno.build.os}`);

    expect(Deno.pid).toBe(process.pid);
    expect(Deno.env.get("PATH")).toBe(process.env["PATH"]);
    await expect(Deno.stat(`${folder}/none`)).rejects.toBeInstanceOf(Deno.errors.NotFound);
    await expect(Deno.connect({ hostname: "10.9.9.9", port: 1 })).rejects.toThrow(); // the stack knows no way there
    expect(() => Deno.listen({ port: 80 })).toThrow(Deno.errors.AddrInUse);
  } finally {
    rmSync(folder, { recursive: true });
    server.close();
    client.close();
  }
});
