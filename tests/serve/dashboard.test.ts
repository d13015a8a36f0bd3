import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { expect, onTestFinished, test } from "vitest";
import { runtime } from "../../base/runtime.ts";
import { METRICS_TYPE } from "../../checkpoint/metrics.ts";
import { Firewall } from "../../net/firewall/firewall.ts";
import { type Dashboard, serveDashboard } from "../../serve/dashboard/dashboard.ts";
import { type SleepyPair, sleepyPair } from "../dropin/world.ts";
import { CHROMIUM, withChromium } from "../support/chromium.ts";
import { judge } from "../support/judge.ts";

/** A host with some connections, and its dashboard. */
async function world(): Promise<SleepyPair & { dashboard: Dashboard; speak(): Promise<void> }> {
  const pair = sleepyPair();
  const rules = [
    { protocol: "tcp" as const, destinationPort: 7, action: "accept" as const, comment: "<b>echo</b>" },
    { protocol: "tcp" as const, destinationPort: 9, action: "reject" as const },
  ];
  pair.server.stack.firewall = new Firewall({ rules }, ["net0"]);
  pair.server.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
  const conns = await Promise.all(
    Array.from({ length: 3 }, () => pair.client.connect({ hostname: "10.0.0.1", port: 7 })),
  );
  const dashboard = await serveDashboard(pair.server, { sampleMs: 50 });
  onTestFinished(() => dashboard.close());
  return {
    ...pair,
    dashboard,
    async speak() {
      for (const conn of conns) {
        await conn.write(Uint8Array.of(1, 2, 3));
        await conn.read(new Uint8Array(3));
      }
    },
  };
}

test("the page, its style and script, Prometheus's page and the samples are there; nothing else, and nothing from elsewhere", async () => {
  const { dashboard, server } = await world();
  const get = (path: string): Promise<Response> => fetch(new URL(path, dashboard.url));
  for (
    const [path, type] of [
      ["/", "text/html"],
      ["/page.css", "text/css"],
      ["/page.js", "text/javascript"],
      ["/metrics", METRICS_TYPE],
    ] as const
  ) {
    const response = await get(path);
    expect([response.status, response.headers.get("content-type")]).toEqual([
      200,
      expect.stringContaining(type),
    ]);
    expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(await response.text(), path).not.toMatch(/https?:\/\/(?!www\.w3\.org)/);
  }
  const { samples, status } = await (await get("/samples.json")).json();
  expect(samples[0]).toMatchObject({
    awake: 3,
    asleep: 0,
    firewall: Array.from({ length: 5 }, () => expect.any(Number)),
  });
  expect(status.connections).toEqual(server.counts);
  expect((await get("/../../mod.ts")).status).toBe(404);
  expect((await get("/__proto__")).status).toBe(404);
  await dashboard.close();
  await expect(get("/")).rejects.toThrow();
});

/** Waits by looking: the page's policy lets nobody, Playwright neither, put code into it. */
async function until(page: Page, expression: string): Promise<void> {
  for (let turn = 0; turn < 400 && !await page.evaluate(expression); turn++) await page.waitForTimeout(25);
  expect(await page.evaluate(expression), expression).toBe(true);
}

/** Where screenshots are left for whoever wants to look. */
const SHOTS = fileURLToPath(new URL("../../dist/screenshots/", import.meta.url));

/** Takes a screenshot, and says of every plot that its lines are on the picture, each in its colour. */
async function seen(page: Page, name: string): Promise<void> {
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ fullPage: true, path: `${SHOTS}${name}.png` });
  const looking = await page.context().newPage(); // the dashboard's own policy lets no pictures in
  const tones = await page.evaluate<string[]>(
    `[...document.querySelectorAll(".plot svg")].map((plot) =>
      getComputedStyle([...plot.querySelectorAll("path.line")].at(-1)).stroke)`, // on top of the others
  );
  for (const [index, plot] of (await page.locator(".plot svg").all()).entries()) {
    const picture = (await plot.screenshot()).toString("base64");
    const colors = new Set(
      await looking.evaluate<string[]>(`(async () => {
      const bytes = await (await fetch("data:image/png;base64,${picture}")).blob();
      const { width, height } = await createImageBitmap(bytes);
      const context = new OffscreenCanvas(width, height).getContext("2d");
      context.drawImage(await createImageBitmap(bytes), 0, 0);
      const { data } = context.getImageData(0, 0, width, height);
      const colors = new Set(new Uint32Array(data.buffer));
      return [...colors].map((color) => [color & 255, color >>> 8 & 255, color >>> 16 & 255].join(", "));
    })()`),
    );
    expect(colors, "the line is drawn").toContain(/^rgb\((.*)\)$/.exec(tones[index]!)?.[1]);
  }
  await looking.close();
}

const LOOKS = [
  { colorScheme: "light", width: 1_280, height: 1_000 },
  { colorScheme: "dark", width: 390, height: 800 },
] as const;

/** How it looks does not depend on who serves it; that it lives does. */
for (const look of runtime === "node" ? LOOKS : LOOKS.slice(0, 1)) {
  judge(
    `Chromium draws the dashboard live, ${look.colorScheme}, ${look.width} pixels wide`,
    [CHROMIUM],
    async () => {
      const { dashboard, server, client, sleep, speak } = await world();
      await speak();
      await expect(client.connect({ hostname: "10.0.0.1", port: 9 })).rejects.toThrow();
      await withChromium(look, async (page) => {
        const wrong: string[] = [];
        page.on("console", (message) => void (message.type() === "error" && wrong.push(message.text())));
        page.on("pageerror", (error) => void wrong.push(error.message));
        await page.goto(dashboard.url);
        const tile = (name: string): Promise<string> =>
          page.locator(".tile", { hasText: name }).first().locator(".value").innerText();
        const becomes = async (name: string, value: string): Promise<void> => {
          for (let turn = 0; turn < 400 && !(await tile(name).catch(() => "")).startsWith(value); turn++) {
            await page.waitForTimeout(25);
          }
          expect(await tile(name)).toBe(value);
        };
        await becomes("Awake", "3");
        await server.sleeper.suspendAll();
        await sleep(3);
        await becomes("Asleep", "3");
        await becomes("Awake", "0");
        await speak();
        await becomes("Awake", "3");
        await until(page, "Number(document.body.dataset.samples) > 10");
        expect(await page.locator("#plot-asleep path.line").getAttribute("d")).toMatch(/^M[\d.,]+L/);
        expect(await page.locator("#plot-wakes path.line").count()).toBe(3);
        expect(await page.locator("#firewall .name").allInnerTexts()).toContain("rule 0 <b>echo</b>");
        expect(await page.locator("#drops .name").allInnerTexts()).toContain("FirewallReject");
        expect(await page.locator("#took tbody tr").count()).toBe(2);
        await page.locator("#plot-memory svg").hover();
        expect(await page.locator("line.cursor").count(), "the cursor is in every plot").toBe(6);
        await page.mouse.move(0, 0);
        expect(await page.locator("#plot-firewall path.line").count()).toBe(2);
        await seen(page, `dashboard-${look.colorScheme}`);
        const overflow = await page.evaluate(
          "document.documentElement.scrollWidth - document.documentElement.clientWidth",
        );
        expect(overflow, "nothing sticks out").toBe(0);
        const background = await page.evaluate("getComputedStyle(document.body).backgroundColor");
        expect(background).toBe(look.colorScheme === "dark" ? "rgb(20, 23, 28)" : "rgb(244, 245, 247)");
        server.close();
        await until(page, "document.getElementById('live').textContent === 'the host has ended'");
        expect(wrong).toEqual([]);
        await dashboard.close();
        await until(page, "document.getElementById('live').textContent.startsWith('no answer')");
        expect(wrong.filter((text) => !text.includes("ERR_CONNECTION_REFUSED"))).toEqual([]);
      });
    },
    90_000,
  );
}
