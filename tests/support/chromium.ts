import { type BrowserContext, chromium, type Page } from "playwright-core";
import { TemporaryFolder } from "./folder.ts";

/** The program, as Debian's package has it. */
export const CHROMIUM = "/usr/bin/chromium";

const QUIET = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
  ...["--disable-background-networking", "--disable-component-update"],
];

/** How a page is looked at. */
export interface Look {
  readonly colorScheme?: "light" | "dark";
  readonly width?: number;
  readonly height?: number;
}

/** A headless Chromium with a profile of its own, gone afterwards. */
export async function withChromium<T>(look: Look, act: (page: Page) => Promise<T>): Promise<T> {
  using profile = new TemporaryFolder();
  const { colorScheme = "light", width = 1_280, height = 900 } = look;
  const context: BrowserContext = await chromium.launchPersistentContext(profile.path, {
    executablePath: CHROMIUM,
    args: QUIET,
    colorScheme,
    viewport: { width, height },
  });
  try {
    return await act(context.pages()[0] ?? await context.newPage());
  } finally {
    await context.close();
  }
}
