// lavapipe, which runs a subgroup as one vector: operands read as they are, values handed round by broadcasts
// a CPU: a=f32 b=f32 c=f32 gelu=false transA=false transB=true
enable subgroups;
requires immediate_address_space;
struct Params { M: u32, N: u32, K: u32, lda: u32, ldb: u32, ldc: u32, startA: u32, startB: u32, startC: u32, hasBias: u32, accumulate: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> A: array<vec4f>;
@group(0) @binding(1) var<storage, read> B: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> outC: array<vec4f>;

fn store(row: u32, v: u32, value: vec4f) {
  let NV = p.N / 4u;
  if (row >= p.M || v >= NV) { return; }
  var sum = value;
  if (p.hasBias != 0u) { sum += bias[v]; }
  let at = p.startC / 4u + row * (p.ldc / 4u) + v;
  if (p.accumulate != 0u) { sum += outC[at]; }
  outC[at] = sum;
}
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let row0 = group.y * 32u;
  let col = group.x * 24u;
  let KV = p.K / 4u; let NV = p.N / 4u; let MV = p.M / 4u;
  let A0 = p.startA / 4u; let B0 = p.startB / 4u; let AV = p.lda / 4u; let BV = p.ldb / 4u;
  var c0_0 = 0.0; var c0_1 = 0.0; var c0_2 = 0.0; var c0_3 = 0.0; var c0_4 = 0.0; var c0_5 = 0.0; var c0_6 = 0.0; var c0_7 = 0.0; var c0_8 = 0.0; var c0_9 = 0.0; var c0_10 = 0.0; var c0_11 = 0.0; var c0_12 = 0.0; var c0_13 = 0.0; var c0_14 = 0.0; var c0_15 = 0.0; var c0_16 = 0.0; var c0_17 = 0.0; var c0_18 = 0.0; var c0_19 = 0.0; var c0_20 = 0.0; var c0_21 = 0.0; var c0_22 = 0.0; var c0_23 = 0.0;
  var c1_0 = 0.0; var c1_1 = 0.0; var c1_2 = 0.0; var c1_3 = 0.0; var c1_4 = 0.0; var c1_5 = 0.0; var c1_6 = 0.0; var c1_7 = 0.0; var c1_8 = 0.0; var c1_9 = 0.0; var c1_10 = 0.0; var c1_11 = 0.0; var c1_12 = 0.0; var c1_13 = 0.0; var c1_14 = 0.0; var c1_15 = 0.0; var c1_16 = 0.0; var c1_17 = 0.0; var c1_18 = 0.0; var c1_19 = 0.0; var c1_20 = 0.0; var c1_21 = 0.0; var c1_22 = 0.0; var c1_23 = 0.0;
  var c2_0 = 0.0; var c2_1 = 0.0; var c2_2 = 0.0; var c2_3 = 0.0; var c2_4 = 0.0; var c2_5 = 0.0; var c2_6 = 0.0; var c2_7 = 0.0; var c2_8 = 0.0; var c2_9 = 0.0; var c2_10 = 0.0; var c2_11 = 0.0; var c2_12 = 0.0; var c2_13 = 0.0; var c2_14 = 0.0; var c2_15 = 0.0; var c2_16 = 0.0; var c2_17 = 0.0; var c2_18 = 0.0; var c2_19 = 0.0; var c2_20 = 0.0; var c2_21 = 0.0; var c2_22 = 0.0; var c2_23 = 0.0;
  var c3_0 = 0.0; var c3_1 = 0.0; var c3_2 = 0.0; var c3_3 = 0.0; var c3_4 = 0.0; var c3_5 = 0.0; var c3_6 = 0.0; var c3_7 = 0.0; var c3_8 = 0.0; var c3_9 = 0.0; var c3_10 = 0.0; var c3_11 = 0.0; var c3_12 = 0.0; var c3_13 = 0.0; var c3_14 = 0.0; var c3_15 = 0.0; var c3_16 = 0.0; var c3_17 = 0.0; var c3_18 = 0.0; var c3_19 = 0.0; var c3_20 = 0.0; var c3_21 = 0.0; var c3_22 = 0.0; var c3_23 = 0.0;
  for (var k = 0u; k < KV; k++) {
    let a0 = A[A0 + min(row0 + 0u + lane, p.M - 1u) * AV + k];
    let a1 = A[A0 + min(row0 + 8u + lane, p.M - 1u) * AV + k];
    let a2 = A[A0 + min(row0 + 16u + lane, p.M - 1u) * AV + k];
    let a3 = A[A0 + min(row0 + 24u + lane, p.M - 1u) * AV + k];
    let b0 = B[B0 + min(col + 0u + lane, p.N - 1u) * BV + k];
    let b1 = B[B0 + min(col + 8u + lane, p.N - 1u) * BV + k];
    let b2 = B[B0 + min(col + 16u + lane, p.N - 1u) * BV + k];
    { let b = subgroupBroadcast(b0.x, 0u);
      c0_0 = fma(a0.x, b, c0_0);
      c1_0 = fma(a1.x, b, c1_0);
      c2_0 = fma(a2.x, b, c2_0);
      c3_0 = fma(a3.x, b, c3_0);
    }
    { let b = subgroupBroadcast(b0.y, 0u);
      c0_0 = fma(a0.y, b, c0_0);
      c1_0 = fma(a1.y, b, c1_0);
      c2_0 = fma(a2.y, b, c2_0);
      c3_0 = fma(a3.y, b, c3_0);
    }
    { let b = subgroupBroadcast(b0.z, 0u);
      c0_0 = fma(a0.z, b, c0_0);
      c1_0 = fma(a1.z, b, c1_0);
      c2_0 = fma(a2.z, b, c2_0);
      c3_0 = fma(a3.z, b, c3_0);
    }
    { let b = subgroupBroadcast(b0.w, 0u);
      c0_0 = fma(a0.w, b, c0_0);
      c1_0 = fma(a1.w, b, c1_0);
      c2_0 = fma(a2.w, b, c2_0);
      c3_0 = fma(a3.w, b, c3_0);
    }
    { let b = subgroupBroadcast(b0.x, 1u);
      c0_1 = fma(a0.x, b, c0_1);
      c1_1 = fma(a1.x, b, c1_1);
      c2_1 = fma(a2.x, b, c2_1);
      c3_1 = fma(a3.x, b, c3_1);
    }
    { let b = subgroupBroadcast(b0.y, 1u);
      c0_1 = fma(a0.y, b, c0_1);
      c1_1 = fma(a1.y, b, c1_1);
      c2_1 = fma(a2.y, b, c2_1);
      c3_1 = fma(a3.y, b, c3_1);
    }
    { let b = subgroupBroadcast(b0.z, 1u);
      c0_1 = fma(a0.z, b, c0_1);
      c1_1 = fma(a1.z, b, c1_1);
      c2_1 = fma(a2.z, b, c2_1);
      c3_1 = fma(a3.z, b, c3_1);
    }
    { let b = subgroupBroadcast(b0.w, 1u);
      c0_1 = fma(a0.w, b, c0_1);
      c1_1 = fma(a1.w, b, c1_1);
      c2_1 = fma(a2.w, b, c2_1);
      c3_1 = fma(a3.w, b, c3_1);
    }
    { let b = subgroupBroadcast(b0.x, 2u);
      c0_2 = fma(a0.x, b, c0_2);
      c1_2 = fma(a1.x, b, c1_2);
      c2_2 = fma(a2.x, b, c2_2);
      c3_2 = fma(a3.x, b, c3_2);
    }
    { let b = subgroupBroadcast(b0.y, 2u);
      c0_2 = fma(a0.y, b, c0_2);
      c1_2 = fma(a1.y, b, c1_2);
      c2_2 = fma(a2.y, b, c2_2);
      c3_2 = fma(a3.y, b, c3_2);
    }
    { let b = subgroupBroadcast(b0.z, 2u);
      c0_2 = fma(a0.z, b, c0_2);
      c1_2 = fma(a1.z, b, c1_2);
      c2_2 = fma(a2.z, b, c2_2);
      c3_2 = fma(a3.z, b, c3_2);
    }
    { let b = subgroupBroadcast(b0.w, 2u);
      c0_2 = fma(a0.w, b, c0_2);
      c1_2 = fma(a1.w, b, c1_2);
      c2_2 = fma(a2.w, b, c2_2);
      c3_2 = fma(a3.w, b, c3_2);
    }
    { let b = subgroupBroadcast(b0.x, 3u);
      c0_3 = fma(a0.x, b, c0_3);
      c1_3 = fma(a1.x, b, c1_3);
      c2_3 = fma(a2.x, b, c2_3);
      c3_3 = fma(a3.x, b, c3_3);
    }
    { let b = subgroupBroadcast(b0.y, 3u);
      c0_3 = fma(a0.y, b, c0_3);
      c1_3 = fma(a1.y, b, c1_3);
      c2_3 = fma(a2.y, b, c2_3);
      c3_3 = fma(a3.y, b, c3_3);
    }
    { let b = subgroupBroadcast(b0.z, 3u);
      c0_3 = fma(a0.z, b, c0_3);
      c1_3 = fma(a1.z, b, c1_3);
      c2_3 = fma(a2.z, b, c2_3);
      c3_3 = fma(a3.z, b, c3_3);
    }
    { let b = subgroupBroadcast(b0.w, 3u);
      c0_3 = fma(a0.w, b, c0_3);
      c1_3 = fma(a1.w, b, c1_3);
      c2_3 = fma(a2.w, b, c2_3);
      c3_3 = fma(a3.w, b, c3_3);
    }
    { let b = subgroupBroadcast(b0.x, 4u);
      c0_4 = fma(a0.x, b, c0_4);
      c1_4 = fma(a1.x, b, c1_4);
      c2_4 = fma(a2.x, b, c2_4);
      c3_4 = fma(a3.x, b, c3_4);
    }
    { let b = subgroupBroadcast(b0.y, 4u);
      c0_4 = fma(a0.y, b, c0_4);
      c1_4 = fma(a1.y, b, c1_4);
      c2_4 = fma(a2.y, b, c2_4);
      c3_4 = fma(a3.y, b, c3_4);
    }
    { let b = subgroupBroadcast(b0.z, 4u);
      c0_4 = fma(a0.z, b, c0_4);
      c1_4 = fma(a1.z, b, c1_4);
      c2_4 = fma(a2.z, b, c2_4);
      c3_4 = fma(a3.z, b, c3_4);
    }
// … 448 lines are left out here, with the SHA-256 0f5e8a65447c1964 …
      c3_23 = fma(a3.y, b, c3_23);
    }
    { let b = subgroupBroadcast(b2.z, 7u);
      c0_23 = fma(a0.z, b, c0_23);
      c1_23 = fma(a1.z, b, c1_23);
      c2_23 = fma(a2.z, b, c2_23);
      c3_23 = fma(a3.z, b, c3_23);
    }
    { let b = subgroupBroadcast(b2.w, 7u);
      c0_23 = fma(a0.w, b, c0_23);
      c1_23 = fma(a1.w, b, c1_23);
      c2_23 = fma(a2.w, b, c2_23);
      c3_23 = fma(a3.w, b, c3_23);
    }
  }
  store(row0 + 0u + lane, col / 4u + 0u, vec4f(c0_0, c0_1, c0_2, c0_3));
  store(row0 + 0u + lane, col / 4u + 1u, vec4f(c0_4, c0_5, c0_6, c0_7));
  store(row0 + 0u + lane, col / 4u + 2u, vec4f(c0_8, c0_9, c0_10, c0_11));
  store(row0 + 0u + lane, col / 4u + 3u, vec4f(c0_12, c0_13, c0_14, c0_15));
  store(row0 + 0u + lane, col / 4u + 4u, vec4f(c0_16, c0_17, c0_18, c0_19));
  store(row0 + 0u + lane, col / 4u + 5u, vec4f(c0_20, c0_21, c0_22, c0_23));
  store(row0 + 8u + lane, col / 4u + 0u, vec4f(c1_0, c1_1, c1_2, c1_3));
  store(row0 + 8u + lane, col / 4u + 1u, vec4f(c1_4, c1_5, c1_6, c1_7));
  store(row0 + 8u + lane, col / 4u + 2u, vec4f(c1_8, c1_9, c1_10, c1_11));
  store(row0 + 8u + lane, col / 4u + 3u, vec4f(c1_12, c1_13, c1_14, c1_15));
  store(row0 + 8u + lane, col / 4u + 4u, vec4f(c1_16, c1_17, c1_18, c1_19));
  store(row0 + 8u + lane, col / 4u + 5u, vec4f(c1_20, c1_21, c1_22, c1_23));
  store(row0 + 16u + lane, col / 4u + 0u, vec4f(c2_0, c2_1, c2_2, c2_3));
  store(row0 + 16u + lane, col / 4u + 1u, vec4f(c2_4, c2_5, c2_6, c2_7));
  store(row0 + 16u + lane, col / 4u + 2u, vec4f(c2_8, c2_9, c2_10, c2_11));
  store(row0 + 16u + lane, col / 4u + 3u, vec4f(c2_12, c2_13, c2_14, c2_15));
  store(row0 + 16u + lane, col / 4u + 4u, vec4f(c2_16, c2_17, c2_18, c2_19));
  store(row0 + 16u + lane, col / 4u + 5u, vec4f(c2_20, c2_21, c2_22, c2_23));
  store(row0 + 24u + lane, col / 4u + 0u, vec4f(c3_0, c3_1, c3_2, c3_3));
  store(row0 + 24u + lane, col / 4u + 1u, vec4f(c3_4, c3_5, c3_6, c3_7));
  store(row0 + 24u + lane, col / 4u + 2u, vec4f(c3_8, c3_9, c3_10, c3_11));
  store(row0 + 24u + lane, col / 4u + 3u, vec4f(c3_12, c3_13, c3_14, c3_15));
  store(row0 + 24u + lane, col / 4u + 4u, vec4f(c3_16, c3_17, c3_18, c3_19));
  store(row0 + 24u + lane, col / 4u + 5u, vec4f(c3_20, c3_21, c3_22, c3_23));
}
