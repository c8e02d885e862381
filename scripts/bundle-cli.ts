/**
 * Makes dist/cli/main.cjs of src/cli/: the command line in one file, for Node takes longer to find and link a hundred modules than a
 * verb takes for its work (docs/adr/0024-command-line-in-one-file.md). `bin/purser` runs it for as long as no source is newer.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

const CLONE = join(import.meta.dirname, '..')
const DIST = join(CLONE, 'dist/cli')
const MAIN = 'main.cjs'

const { outputFiles, metafile } = await build({
  absWorkingDir: CLONE,
  entryPoints: ['src/cli/main.ts'],
  outfile: join(DIST, MAIN),
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node26',
  packages: 'external',
  // A fifth less to read and to look up in the compile cache; names stay, for traces of --debug.
  minifyWhitespace: true,
  minifySyntax: true,
  // Verbs that run a part of the daemon run from the sources: it finds its worker threads beside itself.
  external: ['../daemon/*'],
  metafile: true,
  write: false,
})
mkdirSync(DIST, { recursive: true })
writeWhole('sources', freshness(Object.keys(metafile.inputs)))
for (const { contents } of outputFiles) writeWhole(MAIN, contents) // last, for the others are dated by it

/** A command that is run meanwhile sees the old file or the new one. */
function writeWhole(name: string, contents: string | Uint8Array): void {
  const path = join(DIST, name)
  writeFileSync(`${path}.new`, contents)
  renameSync(`${path}.new`, path)
}

/** Shell that sets `is_fresh`, of builtins alone: it is a part of each command's time. */
function freshness(sources: readonly string[]): string {
  return [
    'is_fresh=yes',
    'for source in \\',
    ...sources.toSorted().map((source) => `  ${source} \\`),
    '; do',
    `  [ "$clone/$source" -ot "$clone/dist/cli/${MAIN}" ] || is_fresh=`,
    'done',
    '',
  ].join('\n')
}
