/* What the profilers' Lua side reads without a call into the VM. */

/* The register in which LuaJIT keeps its dispatch table, on x86-64; NULL elsewhere. Called from Lua, compiled or not, it
   is that of the calling VM: this is how the sampler finds the VM's state (see profiler.lua). */
void *pg_profiler_dispatch(void);
