import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connectedSubnets } from '../../../src/network/bridge.ts'
import { formatSubnet } from '../../../src/oci/subnet.ts'

test('a subnet without a gateway is connected, also that of a bridge without a carrier', () => {
  const table = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
bridge0\t0000590A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t000000C0\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0
eth0\t0000000A\t010200C0\t0003\t0\t0\t0\t000000FF\t0\t0\t0
`
  assert.deepEqual(connectedSubnets(table).map(formatSubnet), ['10.89.0.0/24', '192.0.0.0/20'])
})
