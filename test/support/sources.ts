import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import {
  isCallExpression,
  isExportDeclaration,
  isImportDeclaration,
  isImportTypeNode,
  isNamedImports,
  isStringLiteral,
  type Node,
  type SourceFile,
  SyntaxKind,
} from 'typescript/unstable/ast'
import { API } from 'typescript/unstable/sync'

export const ROOT = join(import.meta.dirname, '../..')

export interface Import {
  /** A path from the root of the repository, as `src/log/keys.ts`, or a package or built-in. */
  readonly target: string
  readonly line: number
  /** Types are gone when the file runs; `dynamic` is `await import()`. */
  readonly kind: 'value' | 'type' | 'dynamic'
}

export interface Source {
  /** From the root of the repository. */
  readonly path: string
  readonly text: string
  readonly lines: number
  readonly imports: readonly Import[]
  readonly tree: SourceFile
}

/** Every .ts file below a directory, parsed by the compiler itself. */
export function readSources(directory: string): { sources: Source[] } & Disposable {
  const api = new API({ cwd: ROOT })
  const snapshot = api.updateSnapshot({ openProject: join(ROOT, 'tsconfig.json') })
  const program = snapshot.getProjects()[0]?.program
  if (!program) throw new Error('tsconfig.json opens no project')
  const paths = readdirSync(join(ROOT, directory), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => join(directory, path))
    .sort()
  const sources = paths.flatMap((path): Source[] => {
    const tree = program.getSourceFile(join(ROOT, path))
    if (!tree) throw new Error(`${path} is not in the project of tsconfig.json`)
    const text = readFileSync(join(ROOT, path), 'utf8')
    return [{ path, text, lines: text.trimEnd().split('\n').length, imports: importsOf(path, tree), tree }]
  })
  return { sources, [Symbol.dispose]: () => api.close() }
}

function importsOf(path: string, tree: SourceFile): Import[] {
  // The compiler names an `import()` twice when the word stands in a string before it.
  const literals = [...new Map(tree.imports.map((literal) => [literal.end, literal])).values()]
  return literals.flatMap((literal) => {
    if (!isStringLiteral(literal)) return []
    const { text } = literal
    return {
      target: text.startsWith('.') ? relative(ROOT, join(ROOT, dirname(path), text)) : text,
      line: tree.text.slice(0, literal.end).split('\n').length,
      kind: kindOf(literal.parent),
    }
  })
}

function kindOf(parent: Node): Import['kind'] {
  if (isCallExpression(parent)) return 'dynamic'
  if (isExportDeclaration(parent)) return parent.isTypeOnly ? 'type' : 'value'
  if (isImportDeclaration(parent)) {
    const clause = parent.importClause
    if (!clause) return 'value'
    if (clause.phaseModifier === SyntaxKind.TypeKeyword) return 'type'
    const named = clause.namedBindings
    if (clause.name || !named || !isNamedImports(named)) return 'value'
    return named.elements.every((element) => element.isTypeOnly) ? 'type' : 'value'
  }
  return isImportTypeNode(parent.parent) ? 'type' : 'value'
}

/** Every node below one, itself included. */
export function* nodesOf(node: Node): Generator<Node> {
  const queue = [node]
  for (let next = queue.pop(); next; next = queue.pop()) {
    yield next
    next.forEachChild((child) => {
      queue.push(child)
    })
  }
}
