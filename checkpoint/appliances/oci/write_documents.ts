import type { LayerBlob, Service } from "../appliance.ts";
import { SERVICES_LABEL } from "./documents.ts";

/** Media types of a layer (OCI image specification, layer.md). */
const LAYER_TYPES: Readonly<Record<LayerBlob["compression"], string>> = {
  none: "application/vnd.oci.image.layer.v1.tar",
  gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
};
export const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
export const CONFIG_TYPE = "application/vnd.oci.image.config.v1+json";

/** A layer as a manifest names it. */
export type LayerAbout = Pick<LayerBlob, "digest" | "diffId" | "bytes" | "compression">;

/** The configuration of an image. One service is started as images are; several are kept in a label for a launcher. */
export function configDocument(
  platform: { readonly os: string; readonly architecture: string },
  layers: readonly LayerAbout[],
  services: readonly Service[],
): Uint8Array {
  const [only, more] = services;
  const ports = [...new Set(services.flatMap((service) => service.ports))].sort();
  const config = {
    ...only === undefined || more !== undefined ? {} : {
      ...only.user === "" ? {} : { User: only.user },
      Env: only.env,
      ...only.entrypoint.length === 0 ? {} : { Entrypoint: only.entrypoint },
      ...only.cmd.length === 0 ? {} : { Cmd: only.cmd },
      ...only.workingDir === "" ? {} : { WorkingDir: only.workingDir },
    },
    ...ports.length === 0 ? {} : { ExposedPorts: Object.fromEntries(ports.map((port) => [port, {}])) },
    ...services.length === 0 ? {} : { Labels: { [SERVICES_LABEL]: JSON.stringify(services) } },
  };
  return json({
    architecture: platform.architecture,
    os: platform.os,
    config,
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => `sha256:${diffId}`) },
  });
}

/** A manifest. */
export function manifestDocument(
  config: { readonly digest: string; readonly bytes: number },
  layers: readonly LayerAbout[],
): Uint8Array {
  return json({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: { mediaType: CONFIG_TYPE, digest: `sha256:${config.digest}`, size: config.bytes },
    layers: layers.map(({ digest, bytes, compression }) => ({
      mediaType: LAYER_TYPES[compression],
      digest: `sha256:${digest}`,
      size: bytes,
    })),
  });
}

/** The index of a layout with one image. */
export function indexDocument(
  manifest: { readonly digest: string; readonly bytes: number },
  ref: string,
): Uint8Array {
  return json({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [{
      mediaType: MANIFEST_TYPE,
      digest: `sha256:${manifest.digest}`,
      size: manifest.bytes,
      annotations: { "org.opencontainers.image.ref.name": ref },
    }],
  });
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}
