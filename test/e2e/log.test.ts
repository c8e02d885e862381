import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { openCheckpoint } from '../../src/archive/checkpoint.ts'
import { parseVerifier } from '../../src/archive/note.ts'
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
