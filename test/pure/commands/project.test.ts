import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hasOwnNetwork, optionsOfPart, project } from '../../../src/commands/project.ts'
import { containerOptions } from '../../../src/oci/spec/container-options.ts'
import { Past } from '../../support/commands.ts'

const part = (dependsOn: Record<string, string> = {}, more = {}) => ({ run: { image: 'alpine', ...more }, dependsOn })
const up = (past: Past, containers: Record<string, unknown>) => past.decide('project.up', { containers }, 'shop')

function messageOf(decision: ReturnType<Past['decide']>): string {
  return 'refused' in decision
    ? `${decision.refused.code}: ${decision.refused.message}`
    : decision.map(({ type }) => type).join()
}

test('a project is taken when what its containers depend on is there and can hold', () => {
  const past = new Past()
  assert.equal(
    messageOf(up(past, { a: part(), b: part({ a: 'healthy' }), c: part({ a: 'started', b: 'completed' }) })),
    'project.starting',
  )
  assert.match(messageOf(up(past, { a: part({ b: 'started' }) })), /^invalid_argument: .*there is no container b/)
  assert.match(messageOf(up(past, { a: part({ toString: 'started' }) })), /there is no container toString/)
  assert.match(messageOf(up(past, { a: part({ a: 'started' }) })), /in a circle: a → a/)
  assert.match(
    messageOf(up(past, { x: part(), a: part({ b: 'started' }), b: part({ a: 'started', x: 'started' }) })),
    /a → b → a/,
  )
  const always = part({}, { restart: { policy: 'always' } })
  assert.match(messageOf(up(past, { a: always, b: part({ a: 'completed' }) })), /a is never completed/)
  assert.equal(messageOf(up(past, { a: always, b: part({ a: 'healthy' }) })), 'project.starting')
})

test('a project that is there comes up again as it was made, whatever its secrets are sealed as', () => {
  const sealed = (as: string) => ({ a: part({}, { options: { env: [`KEY=sealed:v1:${as}`] } }) })
  const past = new Past()
  const [starting] = up(past, sealed('one')) as { type: string; data: Record<string, unknown> }[]
  assert.ok(starting)
  past.happens({ ...starting, id: 'shop' }).happens({ type: 'project.started', id: 'shop' })
  assert.equal(past.state('project', 'shop').status, 'up')
  assert.equal(messageOf(up(past, sealed('two'))), 'project.starting')
  assert.match(messageOf(up(past, { a: part() })), /^failed_precondition: project shop is up with other containers/)
  assert.deepEqual(past.ask('project.down', {}, 'shop'), ['project.stopping'])
  past.happens({ type: 'project.stopping', id: 'shop' }).happens({ type: 'project.removed', id: 'shop' })
  assert.equal(past.ask('project.down', {}, 'shop'), 'not_found')
})

test('a part is in the network of its project, and known there by its name, unless it says otherwise', () => {
  const networks = (given: Parameters<typeof containerOptions.parse>[0]) => {
    const { network, moreNetworks, aliases } = optionsOfPart('shop', 'db', containerOptions.parse(given))
    return { network, moreNetworks, aliases }
  }
  const aliases = [{ name: 'db' }]
  assert.deepEqual(networks({}), { network: 'shop_default', moreNetworks: undefined, aliases })
  assert.deepEqual(networks({ network: 'front', moreNetworks: ['default'], aliases: [{ name: 'x' }] }), {
    network: 'front',
    moreNetworks: ['shop_default'],
    aliases: [{ name: 'x' }, ...aliases],
  })
  assert.deepEqual(networks({ network: 'host' }), { network: 'host', moreNetworks: undefined, aliases: undefined })
  const parts = (network: string) =>
    project.commands['project.up'].parse({ containers: { a: part({}, { options: { network } }) } }).containers
  assert.equal(hasOwnNetwork('shop', parts('none')), false)
  assert.equal(hasOwnNetwork('shop', parts('default')), true)
})
