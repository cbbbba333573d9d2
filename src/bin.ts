#!/usr/bin/env node
/** What the npm package runs: an older Node could not even read the rest. */
const NEEDED = 24
/**
 * The young generation, which V8 can be told at its start only. Where there is much memory it takes twice as much
 * by itself, which makes no message cheaper, and each of 10,000 connections 4 KiB dearer (bench/LOG.md).
 */
const YOUNG = '--max-semi-space-size'
const YOUNG_MIB = 16

const { argv, argv0, env, execArgv, execPath, versions } = process
const [major] = versions.node.split('.')
if (Number(major) >= NEEDED) {
  const isChosen = [...execArgv, env.NODE_OPTIONS ?? ''].some((text) => text.includes(YOUNG))
  if (argv[2] === 'start' && !isChosen) {
    process.execve?.(execPath, [argv0, ...execArgv, `${YOUNG}=${YOUNG_MIB}`, ...argv.slice(1)])
  }
  await import('./main.ts')
} else {
  console.error(`Meerkat needs Node.js ${NEEDED} or newer; this is ${versions.node}`)
  process.exitCode = 1
}
