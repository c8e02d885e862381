import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { verbs } from '../../../src/cli/index.ts'
import { type CliNode, LAUNCHER, startCliNode } from '../../support/cli.ts'

describe('completion and help come from the definitions of the verbs', () => {
  let at: CliNode
  before(async () => {
    at = await startCliNode()
    for (const name of ['web1', 'web2', 'db']) await at.cli('create', '--name', name, at.image)
  })
  after(() => at[Symbol.asyncDispose]())

  const complete = async (...words: string[]): Promise<string[]> => {
    const { stdout, stderr, exitCode } = await at.cli('__complete', '--', ...words)
    assert.equal(exitCode, 0, stderr)
    return stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => line.split('\t')[0] ?? '')
  }

  test('verbs, options and values, wherever they may stand', async () => {
    assert.deepEqual(await complete('pau'), ['pause'])
    assert.ok(!(await complete('')).includes('__complete'))
    assert.deepEqual(await complete('command', ''), ['cancel', 'ls', 'show', 'submit'])
    assert.deepEqual(await complete('run', '--env'), ['--env', '--env-file'])
    assert.deepEqual(await complete('--format', ''), ['table', 'json', 'ndjson', 'csv'])
    assert.deepEqual(await complete('run', '--net', 'h'), ['host'])
    assert.deepEqual(await complete('completion', ''), ['bash', 'zsh', 'fish'])
    assert.deepEqual(await complete('nosuch', ''), await complete(''))
  })

  test('names of containers, images and namespaces, of the daemon and namespace that the words name', async () => {
    assert.deepEqual(await complete('rm', 'web'), ['web1', 'web2'])
    assert.deepEqual(await complete('rm', '-f', 'web1', ''), ['db', 'web1', 'web2'])
    assert.deepEqual(await complete('run', '-it', '--name', 'x', ''), [at.image])
    assert.deepEqual(await complete('history', 'd'), ['db'])
    assert.deepEqual(await complete('-n', ''), ['default'])
    assert.deepEqual(await complete('-n', 'other', 'rm', ''), [])
    assert.deepEqual(await complete('--address', '/nosuch', 'rm', ''), [])
    // What comes after an image is the container's own.
    assert.deepEqual(await complete('run', at.image, '--'), [])
  })

  test('bash completes with the script that it is given', async () => {
    const script = `${at.node.dir}/completion.bash`
    await writeFile(script, (await at.cli('completion', 'bash')).stdout)
    const completed = (line: string) => {
      const program = `source ${script}; COMP_LINE=$1; read -ra COMP_WORDS <<<"$1"
        [[ $1 == *' ' ]] && COMP_WORDS+=(''); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); COMP_POINT=\${#1}
        _purser; printf '%s\\n' "\${COMPREPLY[@]}"`
      const env = {
        ...process.env,
        PATH: `${dirname(LAUNCHER)}:${process.env.PATH}`,
        PURSER_ADDRESS: at.node.socketPath,
      }
      return execFileSync('bash', ['-c', program, 'bash', line], { encoding: 'utf8', env }).trim().split('\n')
    }
    assert.deepEqual(completed('purser stop we'), ['web1', 'web2'])
    assert.deepEqual(completed('purser unp'), ['unpause'])
    assert.deepEqual(completed('purser rm '), ['db', 'web1', 'web2'])
  })

  for (const shell of ['bash', 'zsh', 'fish']) {
    test(`the script for ${shell} is one that it can parse`, async (t) => {
      const { stdout, exitCode } = await at.cli('completion', shell)
      assert.equal(exitCode, 0)
      assert.match(stdout, /__complete/)
      const parsed = spawnSync(shell, ['-n'], { input: stdout, encoding: 'utf8' })
      if (parsed.error) t.skip(`${shell} is not installed`)
      else assert.equal(parsed.stderr, '')
    })
  }

  test('every verb tells what it takes', async () => {
    const all = verbs.flatMap((each) =>
      'verbs' in each ? each.verbs.map(({ name }) => [each.name, name]) : [[each.name]],
    )
    const overview = (await at.cli('--help')).stdout
    for (const path of all) {
      if (path[0] === '__complete') continue
      const helped = await at.cli('help', ...path)
      assert.equal(helped.exitCode, 0, helped.stderr)
      assert.ok(helped.stdout.includes(`Usage: purser ${path.join(' ')} [options]`), helped.stdout)
      assert.match(overview, new RegExp(`^ {2}${path[0]} `, 'm'))
    }
    const run = await at.cli('run', '--help')
    assert.deepEqual(run, await at.cli('help', 'run'))
    assert.match(run.stdout, /-v, --volume <src:dst\[:ro\]> +bind mount/)
  })
})
