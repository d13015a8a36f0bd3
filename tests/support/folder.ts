import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A fresh folder for one test; delete it with `using`. */
export class TemporaryFolder implements Disposable {
  readonly path: string;

  /** @param parent Where it is made. */
  constructor(parent: string = tmpdir()) {
    this.path = mkdtempSync(join(parent, "torpor-test-"));
  }

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
