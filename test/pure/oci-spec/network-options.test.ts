import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { networkMode, networksOf } from '../../../src/oci/spec/network-mode.ts'
import { networkConflict } from '../../../src/oci/spec/network-options.ts'
import { formatSubnet, freeLocalSubnet, isHostOf, overlap, parseSubnet, type Subnet } from '../../../src/oci/subnet.ts'

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

const FAMILIES = [
  { family: 4, bits: 32, start: 10n * 2n ** 24n },
  { family: 6, bits: 128, start: 0xfd00_0089n * 2n ** 96n },
] as const

test('subnets overlap exactly when one has an address of the other', () => {
  const subnet = fc
    .record({ of: fc.constantFrom(...FAMILIES), at: fc.bigInt({ min: 0n, max: 255n }), size: fc.nat(8) })
    .map(({ of: { family, bits, start }, at, size }) => ({
      family,
      base: start + at - (at % 2n ** BigInt(size)),
      prefix: bits - size,
    }))
  fc.assert(
    fc.property(subnet, subnet, (a, b) => {
      const addresses = ({ family, base, prefix }: typeof a) =>
        Array.from({ length: 2 ** ((family === 4 ? 32 : 128) - prefix) }, (_, at) => base + BigInt(at))
      const others = new Set(addresses(b))
      assert.equal(
        overlap(a, b),
        addresses(a).some((each) => others.has(each)),
      )
      assert.deepEqual(parseSubnet(formatSubnet(a)), a)
    }),
  )
  for (const text of ['10.0.0.1/24', '10.0.0.0', '10.0.0.0/33', '10.0.0.0/24/1', '::1/64', 'fe80::%lo/64', '::/129'])
    assert.equal(parseSubnet(text), undefined)
  const mapped = parseSubnet('::ffff:10.0.0.0/120') ?? assert.fail()
  assert.equal(mapped.base, (0xffffn << 32n) + (10n << 24n))
  const ours = [0, 1].reduce<Subnet[]>(
    (taken) => [...taken, freeLocalSubnet(0x0123456789n, taken) ?? assert.fail()],
    [],
  )
  assert.deepEqual(ours.map(formatSubnet), ['fd01:2345:6789::/64', 'fd01:2345:6789:1::/64'])
  assert.deepEqual(
    ['fd01:2345:6789::', 'fd01:2345:6789::1', '10.0.0.1'].map((each) => isHostOf(each, ours[0] ?? assert.fail())),
    [false, true, false],
  )
  const small = parseSubnet('10.0.0.0/29') ?? assert.fail()
  assert.deepEqual(
    ['10.0.0.0', '10.0.0.1', '10.0.0.6', '10.0.0.7'].map((each) => isHostOf(each, small)),
    [false, true, true, false],
  )
})
