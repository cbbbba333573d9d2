/** Builds what the npm package holds, into `dist` or the directory that is named. */
import { execFileSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../', import.meta.url))
const [, , into = join(root, 'dist')] = process.argv

rmSync(into, { recursive: true, force: true })
const options = ['-p', 'tsconfig.build.json', '--outDir', into]
execFileSync(join(root, 'node_modules/.bin/tsc'), options, { cwd: root, stdio: 'inherit' })
// The compiler leaves out what browsers get as it is.
cpSync(join(root, 'src/admin/page'), join(into, 'admin/page'), { recursive: true })
