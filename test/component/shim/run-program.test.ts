import assert from 'node:assert/strict'
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { PurserError } from '../../../src/model/errors.ts'
import { runProgram } from '../../../src/shim/run-program.ts'

const run = (script: string, more: { stdin?: Buffer; inheritFds?: number[] } = {}, ms = 20_000) =>
  runProgram(
    { file: '/bin/sh', args: ['-c', script], cwd: '/tmp', env: { PATH: '/bin:/usr/bin', SAID: 'so' }, ...more },
    AbortSignal.timeout(ms),
  )

/** Of this process: those that have ended and were not collected. */
const zombies = (): string[] =>
  readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      const [state, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /s, '').split(' ')
      return state === 'Z' && Number(parent) === process.pid
    } catch {
      return false
    }
  })

test('a program gets its input, directory, variables and descriptors, and no others', async () => {
  const given = openSync('/etc/hostname', 'r')
  try {
    const { exitCode, stdout, stderr } = await run(
      'cat; pwd; echo $SAID; env | wc -l; cat /proc/self/fd/10; echo wrong >&2; exit 3',
      { stdin: Buffer.from('input '), inheritFds: [given] },
    )
    const [line, said, variables, host] = stdout.toString().split('\n')
    assert.deepEqual([exitCode, line, said, stderr], [3, 'input /tmp', 'so', 'wrong'])
    assert.ok(Number(variables) <= 4, `${variables} variables`) // PATH, SAID, and the shell's own.
    assert.equal(`${host}\n`, readFileSync('/etc/hostname', 'utf8'))
  } finally {
    closeSync(given)
  }
})

test('descriptors arrive whatever their numbers are here', async () => {
  const opened = Array.from({ length: 30 }, (_, index) =>
    openSync(`/proc/self/${index % 2 ? 'limits' : 'status'}`, 'r'),
  )
  const [low = 0, high = 0] = [opened[3], opened[2]]
  try {
    const { stdout } = await run('head -c 5 <&0 >/dev/null; readlink /proc/self/fd/10 /proc/self/fd/11', {
      inheritFds: [low, high],
    })
    const [tenth = '', eleventh = ''] = stdout.toString().split('\n')
    assert.match(tenth, /limits$/)
    assert.match(eleventh, /status$/)
  } finally {
    opened.forEach(closeSync)
  }
})

test('it is in a session of its own, with no signal ignored or blocked', async () => {
  const { stdout } = await run('grep -E "SigBlk|SigIgn" /proc/self/status; cut -d" " -f6 /proc/$$/stat; echo $$')
  const [blocked = '', ignored = '', session, pid] = stdout.toString().split('\n')
  assert.match(blocked, /\t0+$/)
  assert.match(ignored, /\t0+$/)
  assert.equal(session, pid)
})

test('a signal that ends it is told as a shell tells it', async () => {
  assert.equal((await run('kill -TERM $$')).exitCode, 143)
})

test('one that does not end in time is killed and collected; one that cannot be run says why', async () => {
  await assert.rejects(
    run('exec sleep 100', {}, 100),
    (error) => error instanceof DOMException && error.name === 'TimeoutError',
  )
  const absent = runProgram({ file: '/nowhere', args: [], cwd: '/', env: {} }, AbortSignal.timeout(1000))
  await assert.rejects(
    absent,
    (error) => error instanceof PurserError && /nowhere cannot be run: ENOENT/.test(error.message),
  )
  await Promise.all(Array.from({ length: 20 }, () => run('exit 0')))
  assert.deepEqual(zombies(), [])
})

test('output beyond its bound is dropped, and the program goes on', async () => {
  const { exitCode, stdout } = await run('head -c 3000000 /dev/zero; exit 4')
  assert.equal(exitCode, 4)
  assert.ok(stdout.length <= 256 * 1024)
})
