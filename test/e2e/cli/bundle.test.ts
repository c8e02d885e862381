import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

const CLONE = join(import.meta.dirname, '../../..')
const LONG_AGO = new Date('2001-01-01T00:00:00Z')

test('the launcher runs the command line that was made in one file until a source of it is newer', () => {
  const clone = mkdtempSync(join(tmpdir(), 'pt-bundle-'))
  using _ = { [Symbol.dispose]: () => rmSync(clone, { recursive: true }) }
  for (const part of ['bin', 'src', 'scripts', 'package.json']) {
    cpSync(join(CLONE, part), join(clone, part), { recursive: true, preserveTimestamps: true })
  }
  for (const part of ['node_modules', '.node']) symlinkSync(join(CLONE, part), join(clone, part))
  const help = () => execFileSync(join(clone, 'bin/purser'), ['--help'], { encoding: 'utf8', stdio: 'pipe' })
  const source = join(clone, 'src/cli/line/help.ts')
  const text = readFileSync(source, 'utf8')
  const before = help()

  execFileSync(process.execPath, [join(clone, 'scripts/bundle-cli.ts')])
  // A change that the launcher cannot see shows which of the two runs.
  writeFileSync(source, text.replace(/(?<=ABOUT = ')[^']+/, 'changed'))
  utimesSync(source, LONG_AGO, LONG_AGO)
  assert.equal(help(), before)

  const now = new Date()
  utimesSync(source, now, now)
  assert.match(help(), /changed/)

  execFileSync(process.execPath, [join(clone, 'scripts/bundle-cli.ts')])
  utimesSync(source, LONG_AGO, LONG_AGO)
  assert.match(help(), /changed/)
  rmSync(source)
  assert.throws(help, /ERR_MODULE_NOT_FOUND/)
})
