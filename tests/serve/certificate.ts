import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { TemporaryFolder } from "../support/folder.ts";

/** A server's key and certificate, and the authority that has signed it, all of a day. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
}

/** A certificate for some addresses and `torpor.test`, made as an administrator makes it. */
export function makeCertificate(addresses: readonly string[]): Certificate {
  using folder = new TemporaryFolder();
  const path = (name: string): string => folder.file(name);
  const openssl = (...args: string[]): void => void execFileSync("openssl", args, { stdio: "ignore" });
  const EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const authority = ["-keyout", path("ca.key"), "-out", path("ca.pem"), "-subj", "/CN=ca"];
  openssl("req", "-x509", ...EC, "-days", "1", ...authority);
  openssl("req", ...EC, "-keyout", path("key"), "-out", path("csr"), "-subj", "/CN=torpor.test");
  const names = ["DNS:torpor.test", ...addresses.map((address) => `IP:${address}`)];
  writeFileSync(path("ext"), `subjectAltName=${names.join(",")}\nbasicConstraints=CA:FALSE\n`);
  const signer = ["-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-CAcreateserial"];
  openssl(
    ...["x509", "-req", "-in", path("csr"), "-out", path("cert"), "-days", "1", "-extfile", path("ext")],
    ...signer,
  );
  const read = (name: string): string => readFileSync(path(name), "utf8");
  return { key: read("key"), cert: read("cert"), ca: read("ca.pem") };
}
