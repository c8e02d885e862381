import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { networkMode, networksOf } from '../../../src/oci/spec/network-mode.ts'
import { networkConflict } from '../../../src/oci/spec/network-options.ts'
import { formatSubnet, isHostOf, overlap, parseSubnet } from '../../../src/oci/subnet.ts'

const port = { hostPort: 80, containerPort: 80, protocol: 'tcp' } as const

test('a network is none, host, that of a container, or has a name', () => {
  assert.deepEqual(networkMode(undefined), { kind: 'none' })
  assert.deepEqual(networkMode('host'), { kind: 'host' })
  assert.deepEqual(networkMode('container:c1'), { kind: 'container', id: 'c1' })
  assert.deepEqual(networkMode('blue'), { kind: 'named', name: 'blue' })
  for (const text of ['', 'container', 'container:', 'container:a/b', '../x', 'a b'])
    assert.equal(networkMode(text), undefined)
  assert.deepEqual(networksOf({ network: 'blue', moreNetworks: ['red'] }), ['blue', 'red'])
  assert.deepEqual(networksOf({ network: 'host' }), [])
})

test('what does not go together is named with its field', () => {
  assert.equal(
    networkConflict({ network: 'blue', ip: '10.89.0.7', ports: [port, { ...port, protocol: 'udp' }] }),
    undefined,
  )
  assert.equal(networkConflict({ network: 'host', dns: ['10.1.1.1'] }), undefined)
  assert.equal(networkConflict({ ports: [port] })?.field, 'ports')
  assert.equal(networkConflict({ network: 'container:c1', dns: ['10.1.1.1'] })?.field, 'network')
  assert.equal(networkConflict({ network: 'blue', moreNetworks: ['blue'] })?.field, 'moreNetworks')
  assert.equal(networkConflict({ network: 'blue', moreNetworks: ['red'], ip: '10.89.0.7' })?.field, 'ip')
  assert.equal(networkConflict({ network: 'blue', ports: [port, port] })?.message, 'port 80/tcp is published twice')
})

test('subnets overlap exactly when one has an address of the other', () => {
  const subnet = fc.record({ bits: fc.nat(255), prefix: fc.integer({ min: 24, max: 32 }) }).map(({ bits, prefix }) => {
    const size = 2 ** (32 - prefix)
    return { base: 10 * 2 ** 24 + bits - (bits % size), prefix }
  })
  fc.assert(
    fc.property(subnet, subnet, (a, b) => {
      const addresses = ({ base, prefix }: typeof a) => Array.from({ length: 2 ** (32 - prefix) }, (_, at) => base + at)
      const others = new Set(addresses(b))
      assert.equal(
        overlap(a, b),
        addresses(a).some((each) => others.has(each)),
      )
      assert.deepEqual(parseSubnet(formatSubnet(a)), a)
    }),
  )
  for (const text of ['10.0.0.1/24', '10.0.0.0', '10.0.0.0/33', '10.0.0.0/24/1', '::/64'])
    assert.equal(parseSubnet(text), undefined)
  const small = parseSubnet('10.0.0.0/29') ?? assert.fail()
  assert.deepEqual(
    ['10.0.0.0', '10.0.0.1', '10.0.0.6', '10.0.0.7'].map((each) => isHostOf(each, small)),
    [false, true, true, false],
  )
})
