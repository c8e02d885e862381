import assert from 'node:assert/strict'
import { test } from 'node:test'
import { containerOptions } from '../../../src/oci/spec/container-options.ts'
import { linesFor, type Member } from '../../../src/workers/task/network/names.ts'

const line = (address: string, ...names: string[]) => ({ address, names })

interface Given {
  id: string
  addresses: Record<string, string>
  name?: string
  options?: Parameters<typeof containerOptions.parse>[0]
}

const member = ({ id, addresses, name = id, options = {} }: Given): Member => ({
  id,
  name,
  options: containerOptions.parse(options),
  interfaces: Object.entries(addresses).map(([network, address], at) => ({
    network,
    name: `eth${at}`,
    addresses: [`${address}/24`],
  })),
})

test('a container knows those who share a network with it, by the addresses and aliases that they have there', () => {
  const web = member({ id: 'web', addresses: { front: '10.1.0.2' }, options: { hostname: 'web.lan' } })
  const api = member({
    id: 'api',
    name: 'api-2',
    addresses: { front: '10.1.0.3', back: '10.2.0.3' },
    options: { aliases: [{ name: 'service' }, { name: 'internal', network: 'back' }] },
  })
  const db = member({ id: 'db', addresses: { back: '10.2.0.4' } })
  const all = [web, api, db]
  assert.deepEqual(linesFor(web, all), [
    line('10.1.0.2', 'web.front'),
    line('10.1.0.3', 'api-2', 'api', 'service', 'api-2.front'),
  ])
  assert.deepEqual(linesFor(db, all), [
    line('10.2.0.3', 'api-2', 'api', 'service', 'internal', 'api-2.back'),
    line('10.2.0.4', 'db.back'),
  ])
})

test('no other takes the name of the machine itself, of a container, or of a line that was asked for', () => {
  const own = member({
    id: 'own',
    addresses: { front: '10.1.0.2' },
    options: { extraHosts: [{ name: 'db', address: '192.0.2.1' }] },
  })
  const other = member({
    id: 'other',
    addresses: { front: '10.1.0.3' },
    options: { hostname: 'localhost', aliases: [{ name: 'own' }, { name: 'db' }] },
  })
  assert.deepEqual(linesFor(own, [own, other]), [
    line('10.1.0.2', 'own.front'),
    line('10.1.0.3', 'other', 'other.front'),
  ])
})
