import fs from "node:fs";
import type { Service } from "../../checkpoint/appliances/appliance.ts";
import { openDiff } from "../../checkpoint/appliances/disk/diff_file.ts";
import { openAppliance } from "../../checkpoint/appliances/disk/open_appliance.ts";
import type { WorkOptions } from "../../checkpoint/appliances/disk/progress.ts";
import { DOCUMENT_BYTES_MAX, readServices } from "../../checkpoint/appliances/oci/documents.ts";
import { InputError } from "../command.ts";
import { isImage } from "./is_image.ts";

/**
 * What is to be started, by whoever says: a differential, an image, or a JSON file with a list of services.
 * @throws {InputError} When one says nothing.
 * @throws {ApplianceError} {ImageError}
 */
export async function servicesOf(specs: readonly string[], options: WorkOptions): Promise<Service[]> {
  const services: Service[] = [];
  for (const spec of specs) {
    const found = await servicesIn(spec, options);
    if (found.length === 0) throw new InputError(`"${spec}" names no program that is to be started`);
    services.push(...found);
  }
  return services;
}

async function servicesIn(spec: string, options: WorkOptions): Promise<readonly Service[]> {
  if (spec.endsWith(".json")) return servicesInFile(spec);
  if (isImage(spec)) {
    using open = await openDiff(spec);
    return open.diff.about.services;
  }
  using appliance = await openAppliance(spec, options);
  return appliance.services;
}

/** Those in a JSON file. @throws {InputError} {ApplianceError} */
export function servicesInFile(path: string): readonly Service[] {
  const { size } = fs.statSync(path);
  if (size > DOCUMENT_BYTES_MAX) throw new InputError(`"${path}" has ${size} bytes, too many for a list`);
  return readServices(fs.readFileSync(path, "utf8"), path);
}
