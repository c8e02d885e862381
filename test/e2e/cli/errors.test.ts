import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type CliNode, startCliNode } from '../../support/cli.ts'

/** What a user types wrongly, how it ends, and what the one line says. */
const WRONG: readonly (readonly [line: string, exitCode: number, says: RegExp])[] = [
  ['', 64, /no verb is given; see purser --help/],
  ['rnu', 64, /there is no verb rnu \(did you mean run\?\); see purser --help/],
  ['contianers', 64, /there is no verb contianers; see purser --help/],
  ['diff c', 64, /there is no verb diff; purser snapshot diff CONTAINER/],
  ['container ls', 64, /there is no verb container; its verbs stand alone: purser ps/],
  ['command lss', 64, /there is no verb command lss \(did you mean ls\?\); see purser command --help/],
  ['ps --al', 64, /there is no option --al \(did you mean --all\?\); see purser ps --help/],
  ['ps -x', 64, /there is no option -x; see purser ps --help/],
  ['ps extra', 64, /"extra" is one argument too many; see purser ps --help/],
  ['rm', 64, /<container> is missing; see purser rm --help/],
  ['ps --format xml', 64, /--format "xml" is not one of its values; write one of table, json, ndjson/],
  ['ps --all=maybe', 64, /--all=maybe: the option is either there or not; write --all alone/],
  ['ps --namespace', 64, /--namespace has no value; write --namespace <name>/],
  ['ps --filter color=red', 64, /--filter "color=red" is not a filter; write label=… or status=…/],
  ['ps --filter status=up', 64, /--filter "status=up" is never so; write one of created, running, paused, restarting/],
  ['ps --filter health=healty', 64, /"health=healty" is never so \(did you mean healthy\?\)/],
  ['up -f nosuch.yaml', 66, /the file nosuch\.yaml cannot be read; name one that can/],
  ['events --filter typ=x', 64, /--filter "typ=x" is not a filter \(did you mean type\?\)/],
  ['events --since yesterday', 64, /"yesterday" is not a moment; write a time such as/],
  ['logs --tail some c', 64, /--tail: "some" is not a number of lines; write a whole number, or all/],
  ['stop -t soon c', 64, /-t: "soon" is not a whole number from 0 to 86400/],
  ['kill -s SIGFOO c', 64, /-s: "SIGFOO" is not a signal; name one as SIGTERM/],
  ['kill nosuch', 66, /container nosuch is not in namespace default; purser ps -a lists what there is/],
  ['logs nosuch', 66, /container nosuch is not in namespace default/],
  ['wait nosuch', 66, /container nosuch is not in namespace default/],
  ['inspect nosuch', 66, /no container, image, .* is named nosuch/],
  ['history nosuch', 66, /the log tells nothing of nosuch/],
  ['rmi nosuch', 66, /image docker\.io\/library\/nosuch:latest is not in namespace default/],
  ['pull a//b', 64, /a\/\/b/],
  ['command show nosuch', 66, /command nosuch is not known/],
  ['command submit no.such', 64, /"no\.such" is not a command type; use one of/],
  ['command submit gc.collect node --payload {', 64, /--payload: "\{" is not a JSON object; write one/],
  ['namespace rm nosuch', 66, /namespace nosuch is not known; purser namespace ls/],
  ['completion bsh', 64, /there is no script for bsh \(did you mean bash/],
  ['-n bad/name ps', 64, /"bad\/name"/],
  ['run', 125, /<image> is missing; see purser run --help/],
  ['run --detatch IMAGE', 125, /there is no option --detatch \(did you mean --detach\?\); see purser run --help/],
  ['run --name a/b IMAGE', 125, /--name: "a\/b" is not a name for a container; write letters and digits/],
  ['run -v /a IMAGE', 125, /-v: "\/a" is not a bind mount: it has no source or no target; write SOURCE:TARGET/],
  ['run -v data:/x IMAGE', 125, /-v: .*there are no named volumes, and data is not a path/],
  ['run -v /a:b IMAGE', 125, /-v: .*the target b is not absolute/],
  ['run -v /a:/b:rw:x IMAGE', 125, /-v: .*it has too many parts/],
  ['run -v /:/b:sometimes IMAGE', 125, /no such mount option: sometimes; known are/],
  ['run --mount type=bind,target=/x IMAGE', 125, /--mount: .*it has no source; write type=bind\|image,source=/],
  ['run --mount type=volume,target=/x IMAGE', 125, /--mount: .*there is no type "volume"/],
  ['run --mount type=bind,frm=/a,target=/x IMAGE', 125, /--mount: .*there is no key "frm"/],
  ['run --memory lots IMAGE', 125, /--memory: "lots" is not a size in bytes; write a number and one of/],
  ['run --memory 1m IMAGE', 125, /--memory: "1m" is too little to start in; give 6m at least/],
  ['run --cpus many IMAGE', 125, /--cpus: "many" is not a number of CPUs; write 0\.01 or more/],
  ['run --pids-limit 0 IMAGE', 125, /--pids-limit: "0" is not a whole number from 1/],
  ['run --priority first IMAGE', 125, /--priority: "first" is not a whole number from 1/],
  ['run --timeout soon IMAGE', 125, /--timeout: "soon" is not a duration; write numbers with units/],
  ['run -u a:b:c IMAGE', 125, /-u: "a:b:c" is not a user; write USER, UID/],
  ['run -u nosuch IMAGE true', 125, /"nosuch"/],
  ['run -e =x IMAGE', 125, /-e: "=x" is not a variable: it has no name; write KEY=VALUE/],
  ['run --env-file /nosuch IMAGE', 125, /--env-file: the file \/nosuch cannot be read; name one that can/],
  ['run -w tmp IMAGE', 125, /-w: "tmp" is not an absolute path; begin it with \//],
  [
    'run --net bridge IMAGE',
    125,
    /network bridge is neither one of purser's nor in \/etc\/cni\/net\.d; purser network create/,
  ],
  ['run --pull sometimes IMAGE', 125, /--pull "sometimes" is not one of its values/],
  ['run --stop-signal FOO IMAGE', 125, /--stop-signal: "FOO" is not a signal/],
  ['run --detach-keys ctrl-p,nope IMAGE', 125, /--detach-keys: "nope" is not a key; write single characters/],
  ['run -l =x IMAGE', 125, /-l: "=x" is not a label: it has no key; write KEY=VALUE/],
  ['exec nosuch true', 125, /container nosuch is not in namespace default/],
  ['exec c', 125, /<args> is missing; see purser exec --help/],
]

describe('what is typed wrongly is refused on one line that says what, which value, and what to do', () => {
  let at: CliNode
  before(async () => {
    at = await startCliNode()
  })
  after(() => at[Symbol.asyncDispose]())

  for (const [line, exitCode, says] of WRONG) {
    test(`purser ${line}`, async () => {
      const words = line.split(' ').filter((word) => word !== '')
      const ran = await at.cli(...words.map((word) => (word === 'IMAGE' ? at.image : word)))
      assert.match(ran.stderr, says)
      assert.match(ran.stderr, /^purser: [^\n]+\n$/)
      assert.equal(ran.exitCode, exitCode, ran.stderr)
      assert.equal(ran.stdout.replace('[]\n', ''), '')
    })
  }

  test('verbs of several arguments try all, tell of each that fails, and end as the first of those did', async () => {
    for (const name of ['m1', 'm2']) await at.cli('create', '--name', name, at.image)
    const removed = await at.cli('rm', 'm1', 'nosuch', 'm2', 'neither')
    assert.equal(removed.stdout, 'm1\nm2\n')
    assert.deepEqual(removed.stderr.match(/^purser: container (nosuch|neither) is not in/gm)?.length, 2)
    assert.equal(removed.exitCode, 66)
  })

  test('to kill what has ended is refused', async () => {
    await at.cli('run', '--name', 'ended', at.image, 'true')
    const killed = await at.cli('kill', 'ended')
    assert.equal(killed.exitCode, 65)
    assert.match(killed.stderr, /container ended is stopped/)
    await at.cli('rm', 'ended')
  })

  test('a beginning of an id is enough while it is the only one', async () => {
    for (const name of ['same1', 'same2', 'other']) await at.cli('create', '--name', name, at.image)
    const several = await at.cli('rm', 'same')
    assert.equal(several.exitCode, 64)
    assert.match(several.stderr, /same could be one of several containers: same1, same2; give more characters/)
    assert.equal((await at.cli('rm', 'oth', 'same1', 'same2')).exitCode, 0)
  })

  test('--debug adds where it came from', async () => {
    const { stderr } = await at.cli('--debug', 'logs', 'nosuch')
    assert.match(stderr, /^purser: container nosuch[^\n]+\nnot_found: PurserError: container nosuch/)
  })

  test('without a daemon it says so at once', async () => {
    const gone = `${at.node.dir}/nosuch.sock`
    const listed = await at.cli('--address', gone, 'ps')
    assert.deepEqual(listed, {
      exitCode: 69,
      stdout: '',
      stderr: `purser: no daemon answers at ${gone}; start it: sudo purser daemon\n`,
    })
    assert.equal((await at.cli('--address', gone, 'run', at.image)).exitCode, 125)
    assert.equal((await at.cli('--address', gone, 'events', '--follow')).exitCode, 69)
    assert.equal((await at.cli('--address', gone, 'wait', 'c')).exitCode, 69)
  })
})
