import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { openCheckpoint } from '../../src/archive/checkpoint.ts'
import { formatVerifier, parseVerifier, verifierOf } from '../../src/archive/note.ts'
import { checkConsistency, checkInclusion } from '../../src/archive/proofs.ts'
import { verifyArchive } from '../../src/archive/verify.ts'
import { startNode } from '../support/daemon.ts'

test('what a node did is sealed, proved, sent off the host, and read on as one log after a restart', async () => {
  const sent: string[] = []
  const witness = createServer(async (request, response) => {
    // The first is refused: it is sent again.
    if (sent.push(await text(request)) === 1) response.writeHead(503)
    response.end()
    witness.emit('sent')
  })
  witness.listen(0, '127.0.0.1')
  await once(witness, 'listening')
  await using _ = { [Symbol.asyncDispose]: async () => void witness.close() }
  const { port } = witness.address() as AddressInfo
  await using node = await startNode({ config: `[log]\ntailEvents = 2\ncheckpointUrl = "http://127.0.0.1:${port}/"` })

  for (const name of ['one', 'two', 'three']) assert.equal((await node.cli('namespace', 'create', name)).exitCode, 0)
  const older = await node.http('POST', '/v1/log/seal')
  assert.equal(older.status, 200, older.text)
  assert.equal((await node.cli('namespace', 'create', 'four')).exitCode, 0)

  const verifier = parseVerifier(((await node.http('GET', '/v1/log')).json as { key: string }).key)
  const listed = await node.http('GET', '/v1/events?since=0', undefined, { accept: 'application/x-ndjson' })
  const events = listed.text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  for (const { id, position } of events) {
    const proof = await node.http('GET', `/v1/log/proofs/${position === 1 ? id : position}`)
    const checked = checkInclusion(proof.json, verifier)
    assert.deepEqual(checked.event, events[position - 1])
  }
  const { checkpoint } = older.json as { checkpoint: string }
  const consistent = await node.http('POST', '/v1/log/consistency', { checkpoint })
  assert.equal(checkConsistency(consistent.json, verifier).head.size, events.length)

  await node.restart()
  const again = await node.http('GET', '/v1/events?since=0', undefined, { accept: 'application/x-ndjson' })
  assert.equal(again.text, listed.text)
  assert.equal((await node.cli('state', 'rebuild', '--check')).exitCode, 0)
  const { fault } = await verifyArchive({ dir: join(node.root, 'log'), verifier })
  assert.equal(fault, undefined)
  while (openCheckpoint(sent.at(-1) ?? '', verifier).size < events.length) await once(witness, 'sent')
})

test('the command line verifies, proves and shows the trail; what was altered it names, with status 1', async () => {
  await using node = await startNode()
  for (const name of ['one', 'two']) assert.equal((await node.cli('namespace', 'create', name)).exitCode, 0)
  assert.equal((await node.cli('namespace', 'rm', 'none-such')).exitCode, 66)
  const trail = JSON.parse((await node.cli('--format', 'json', 'audit', 'none-such')).stdout)
  assert.deepEqual(
    trail.map((row: { action: string; outcome: string; code: string; uid: number; surface: string }) => [
      row.action,
      row.outcome,
      row.code,
      row.uid,
      row.surface,
    ]),
    [['namespace.remove', 'failed', 'not_found', 0, 'http']],
  )
  const csv = await node.cli('audit', '--format', 'csv', '--outcome', 'succeeded')
  assert.equal(csv.stdout.split('\r\n').length, 4)

  const old = join(node.dir, 'old')
  const key = join(node.dir, 'key')
  const proof = join(node.dir, 'proof')
  await writeFile(old, (await node.cli('log', 'checkpoint', '--seal')).stdout)
  await writeFile(key, (await node.cli('log', 'key')).stdout)
  assert.equal((await node.cli('namespace', 'create', 'three')).exitCode, 0)
  await writeFile(proof, (await node.cli('log', 'prove', '2')).stdout)
  assert.match((await node.cli('log', 'check-proof', proof, '--key', key)).stdout, /^event 2 is in the log of /)
  await writeFile(proof, (await node.cli('log', 'consistent', old)).stdout)
  assert.match((await node.cli('log', 'check-proof', proof, '--key', key)).stdout, /grew from \d+ to \d+ events/)
  const sound = await node.cli('log', 'verify', '--key', key)
  assert.deepEqual([sound.exitCode, sound.stderr], [0, ''], sound.stdout)
  const { name: origin } = parseVerifier((await readFile(key, 'utf8')).trim())
  const stranger = { name: origin, key: generateKeyPairSync('ed25519').privateKey }
  const wrong = join(node.dir, 'wrong-key')
  await writeFile(wrong, `${formatVerifier(verifierOf(stranger))}\n`)
  const unsigned = await node.cli('log', 'verify', '--key', wrong)
  assert.equal(unsigned.exitCode, 1)
  assert.match(unsigned.stdout, /^unsigned: the note is not signed by /)
  const unproved = await node.cli('log', 'check-proof', proof, '--key', wrong)
  assert.equal(unproved.exitCode, 65)
  assert.match(unproved.stderr, /not signed by .*; use the public key of the node that wrote it/)

  assert.equal(await node.stop(), 0)
  const dir = join(node.root, 'log')
  const offline = await node.cli('log', 'verify', '--archive', dir, '--key', key, '--from', '2', '--to', '3')
  assert.equal(offline.stdout, 'events 2 to 3 are as they were signed\n')
  const [name = ''] = await readdir(join(dir, 'segments'))
  const segment = join(dir, 'segments', name)
  const bytes = await readFile(segment)
  await writeFile(segment, bytes.with(60, (bytes[60] ?? 0) ^ 4))
  const altered = await node.cli('log', 'verify', '--archive', dir, '--key', key)
  assert.equal(altered.exitCode, 1)
  assert.match(altered.stdout, /^(altered|damaged|missing): event \d+: /)
  await writeFile(segment, bytes)
})

test('the state is shown as it was at a moment, and what changed since', async () => {
  await using node = await startNode()
  assert.equal((await node.cli('namespace', 'create', 'one')).exitCode, 0)
  const { head } = (await node.http('GET', '/v1/log')).json as { head: number }
  const between = new Date().toISOString()
  assert.equal((await node.cli('-n', 'one', 'namespace', 'rm', 'one')).exitCode, 0)
  for (const moment of [String(head), between]) {
    const then = JSON.parse((await node.cli('-n', 'one', '--format', 'json', 'state', 'show', '--at', moment)).stdout)
    assert.deepEqual(
      then.map(({ aggregate, id }: { aggregate: string; id: string }) => `${aggregate}/${id}`),
      ['namespace/one'],
    )
    assert.equal((await node.cli('-n', 'one', 'inspect', 'one', '--at', moment)).exitCode, 0)
  }
  assert.equal((await node.cli('-n', 'one', 'inspect', 'one', '--at', '1')).exitCode, 66)
  const diff = await node.cli('-n', 'one', '--format', 'json', 'state', 'diff', String(head))
  assert.deepEqual(JSON.parse(diff.stdout), [
    { aggregate: 'namespace', namespace: 'one', id: 'one', change: 'removed', fields: [] },
  ])
  const beyond = await node.cli('state', 'show', '--at', '99999')
  assert.match(beyond.stderr, /at: the log has reached event \d+, not 99999/)
})

test('refused requests are in the trail without what was typed, and reads when they are asked for', async () => {
  await using node = await startNode({ config: '[audit]\nreads = true' })
  const body = { type: 'namespace.create', subject: 'one', payload: { password: 'hunter2' } }
  assert.equal((await node.http('POST', '/v1/commands', body)).status, 400)
  assert.equal((await node.http('GET', '/v1/images?label=x')).status, 200)
  const websocket = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': Buffer.alloc(16).toString('base64'),
  }
  assert.equal((await node.http('GET', '/v1/containers/none/attach', undefined, websocket)).status, 404)
  const rows = async () => JSON.parse((await node.cli('--format', 'json', 'audit', '--action', 'request.*')).stdout)
  let found = await rows()
  const deadline = Date.now() + 10_000
  while (found.length < 3 && Date.now() < deadline) found = await rows()
  const refused = found.find((row: { outcome: string }) => row.outcome === 'refused')
  assert.equal(refused.action, 'request.POST')
  assert.equal(refused.subject, '/v1/commands')
  assert.equal(refused.code, 'invalid_argument')
  assert.equal(refused.uid, 0)
  assert.ok(
    found.some((row: { subject: string; outcome: string }) => row.subject === '/v1/images' && row.outcome === 'read'),
  )
  assert.ok(found.some((row: { subject: string }) => row.subject === '/v1/containers/none/attach'))
  const slow = await node.cli('audit', '--pid', String(refused.pid), '--slower-than', '1h', '--format', 'json')
  assert.deepEqual(JSON.parse(slow.stdout), [])
  assert.doesNotMatch(JSON.stringify(await (await node.http('GET', '/v1/events?since=0')).text), /hunter2/)
})
