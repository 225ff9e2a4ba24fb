/** `npm run bench -- SUITE [flags]`: `dawntune bench` in the clone. One front door prints help and errors for both. */
process.argv.splice(2, 0, 'bench');
await import('../src/cli/main.js');
