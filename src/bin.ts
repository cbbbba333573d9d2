#!/usr/bin/env node
/** What the npm package runs: an older Node could not even read the rest. */
const NEEDED = 24

const [major] = process.versions.node.split('.')
if (Number(major) >= NEEDED) await import('./main.ts')
else {
  console.error(`Meerkat needs Node.js ${NEEDED} or newer; this is ${process.versions.node}`)
  process.exitCode = 1
}
