import { refuse } from "../appliance_error.ts";
import type { Service } from "../appliance.ts";
import { quoted } from "../path.ts";

/** The largest JSON document of an image: its index, manifest or configuration. */
export const DOCUMENT_BYTES_MAX = 4 * 1024 * 1024;
/** The most layers of one image: overlayfs takes no more. */
export const LAYERS_MAX = 500;

/** What the documents of an image say that we use. */
export interface Descriptor {
  /** `sha256:` and 64 hexadecimal digits. */
  readonly digest: string;
  readonly mediaType: string;
  readonly size: number;
  readonly platform: string | undefined;
  readonly name: string | undefined;
}

/** A JSON object of an image. @throws {ApplianceError} */
export function readDocument(bytes: Uint8Array, what: string): Record<string, unknown> {
  return objectIn(jsonIn(bytes, what), what);
}

/** An image of an archive that `docker save` has written. */
export interface ListedImage {
  /** The path of its configuration. */
  readonly config: string;
  readonly tags: readonly string[];
  /** The paths of its layers, the lowest first. */
  readonly layers: readonly string[];
}

/** What `manifest.json` lists. @throws {ApplianceError} */
export function readImageList(bytes: Uint8Array, what: string): ListedImage[] {
  const list = jsonIn(bytes, what);
  if (!Array.isArray(list)) return refuse("format", `Cannot read ${what}: its manifest.json is no list`);
  return list.map((each) => {
    const { Config: config, RepoTags: tags, Layers: layers } = objectIn(each, what);
    if (typeof config !== "string" || !Array.isArray(layers)) {
      refuse("format", `Cannot read ${what}: its manifest.json names no configuration or no layers`);
    }
    if (layers.length > LAYERS_MAX) refuse("limit", `Cannot read ${what}: it lists ${layers.length} layers`);
    return { config, tags: textsIn(tags, what), layers: textsIn(layers, what) };
  });
}

function jsonIn(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    return refuse("format", `Cannot read ${what}: it is no JSON`, { cause: error });
  }
}

/** A descriptor (OCI image specification, descriptor.md). @throws {ApplianceError} */
export function readDescriptor(value: unknown, what: string): Descriptor {
  const { digest, mediaType, size, platform, annotations } = objectIn(value, what);
  if (typeof digest !== "string" || !/^sha256:[0-9a-f]{64}$/.test(digest)) {
    refuse("format", `Cannot read ${what}: ${quoted(String(digest))} is no SHA-256 digest`);
  }
  if (typeof size !== "number" || !(Number.isSafeInteger(size) && size >= 0)) {
    refuse("format", `Cannot read ${what}: it has no size`);
  }
  const about = platform === undefined ? undefined : objectIn(platform, what);
  const names = annotations === undefined ? {} : objectIn(annotations, what);
  const name = names["org.opencontainers.image.ref.name"];
  return {
    digest,
    size,
    mediaType: typeof mediaType === "string" ? mediaType : "",
    platform: about === undefined ? undefined : `${String(about["os"])}/${String(about["architecture"])}`,
    name: typeof name === "string" ? name : undefined,
  };
}

/** The descriptors in a list. @throws {ApplianceError} */
export function readDescriptors(value: unknown, what: string): Descriptor[] {
  if (!Array.isArray(value)) refuse("format", `Cannot read ${what}: it has no list`);
  if (value.length > LAYERS_MAX) refuse("limit", `Cannot read ${what}: it lists ${value.length}`);
  return value.map((each, index) => readDescriptor(each, `${what}, number ${index}`));
}

/** What an image's configuration says. */
export interface ImageConfig {
  readonly os: string;
  readonly architecture: string;
  readonly diffIds: readonly string[];
  readonly services: readonly Service[];
}

/** The label in which we keep the programs of an appliance that has several. */
export const SERVICES_LABEL = "torpor.services";

/**
 * An image's configuration (OCI image specification, config.md; Docker's is the same).
 * @param name What its program is called.
 * @throws {ApplianceError}
 */
export function readConfig(bytes: Uint8Array, what: string, name: string): ImageConfig {
  const document = readDocument(bytes, what);
  const { diff_ids: ids } = objectIn(document["rootfs"], what);
  if (!Array.isArray(ids) || !ids.every((id) => typeof id === "string")) {
    refuse("format", `Cannot read ${what}: it lists no layers`);
  }
  const config = document["config"] === undefined || document["config"] === null
    ? {}
    : objectIn(document["config"], what);
  const labels = config["Labels"] === undefined || config["Labels"] === null
    ? {}
    : objectIn(config["Labels"], what);
  const kept = labels[SERVICES_LABEL];
  return {
    os: textIn(document["os"]) || "linux",
    architecture: textIn(document["architecture"]) || "amd64",
    diffIds: ids,
    services: typeof kept === "string" ? readServices(kept, what) : serviceIn(config, what, name),
  };
}

function serviceIn(config: Record<string, unknown>, what: string, name: string): Service[] {
  const entrypoint = textsIn(config["Entrypoint"], what), cmd = textsIn(config["Cmd"], what);
  if (entrypoint.length + cmd.length === 0) return [];
  const ports = config["ExposedPorts"];
  return [{
    name,
    entrypoint,
    cmd,
    env: textsIn(config["Env"], what),
    ports: ports === undefined || ports === null ? [] : Object.keys(objectIn(ports, what)).sort(),
    user: textIn(config["User"]),
    workingDir: textIn(config["WorkingDir"]),
  }];
}

/** Services as we write them: a JSON array. @throws {ApplianceError} */
export function readServices(text: string, what: string): Service[] {
  const value = jsonIn(new TextEncoder().encode(text), `services of ${what}`);
  if (!Array.isArray(value)) return refuse("format", `Cannot read ${what}: its services are no list`);
  return value.map((each) => serviceFrom(each, what));
}

/** One service, with what is missing left empty. @throws {ApplianceError} */
export function serviceFrom(value: unknown, what: string): Service {
  const one = objectIn(value, what);
  const name = textIn(one["name"]);
  if (name === "") refuse("format", `Cannot read ${what}: a service of it has no name`);
  return {
    name,
    entrypoint: textsIn(one["entrypoint"], what),
    cmd: textsIn(one["cmd"], what),
    env: textsIn(one["env"], what),
    ports: textsIn(one["ports"], what),
    user: textIn(one["user"]),
    workingDir: textIn(one["workingDir"]),
  };
}

function textIn(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function textsIn(value: unknown, what: string): string[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.every((each) => typeof each === "string")) return value;
  return refuse("format", `Cannot read ${what}: a list of texts is none`);
}

function objectIn(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  return refuse("format", `Cannot read ${what}: an object is missing`);
}
