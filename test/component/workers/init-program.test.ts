import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { InitProgram } from '../../../src/workers/task/init-program.ts'

test('an init is the one that is configured, or else the first that is on the search path; without one it is told what to install', () => {
  const dir = mkdtempSync(join(tmpdir(), 'init-'))
  try {
    const nothing = /container c1 is to have an init process, and neither docker-init nor tini-static is in/
    assert.throws(() => new InitProgram(undefined, dir).require('c1'), {
      code: 'failed_precondition',
      message: nothing,
    })
    assert.throws(() => new InitProgram(undefined, dir).require('c1'), { remedy: /apt install tini/ })
    writeFileSync(join(dir, 'docker-init'), '', { mode: 0o644 }) // It is no program.
    writeFileSync(join(dir, 'tini-static'), '', { mode: 0o755 })
    assert.equal(new InitProgram(undefined, `relative:/nowhere:${dir}`).require('c1'), join(dir, 'tini-static'))
    const named = new InitProgram('/nowhere/tini', dir)
    assert.throws(() => named.require('c1'), {
      message: /\/nowhere\/tini, which the configuration names, is no program/,
    })
  } finally {
    rmSync(dir, { recursive: true })
  }
})
