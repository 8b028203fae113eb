// node make_component.mjs NODE_MODULES CORE.wasm WORLD WIT_FILE OUT.wasm [command]
// Turns a core module into a component. The WIT is passed as text, because the command line tool of jco 1.35
// cannot read any path. With `command`, wasip1 imports are served by jco's own adapter.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, core, world, wit, out, adapter] = process.argv.slice(2);
const jco = join(modules, '@bytecodealliance', 'jco');
const { componentEmbed, componentNew } = await import(pathToFileURL(join(jco, 'dist', 'api.js')));

let binary = await readFile(core);
if (wit) binary = await componentEmbed({ binary, witSource: await readFile(wit, 'utf8'), world });
const adapters = adapter
  ? [['wasi_snapshot_preview1', await readFile(join(jco, 'lib', `wasi_snapshot_preview1.${adapter}.wasm`))]]
  : [];
await writeFile(out, await componentNew(binary, adapters));
