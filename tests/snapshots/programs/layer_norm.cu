extern "C" __global__ void __launch_bounds__(128)
sum_add_100x300(const float* __restrict__ a0, const float* __restrict__ a1, const float* __restrict__ a2, float* __restrict__ a3) {
    const int group_0 = (int)blockIdx.x;
    const int local_0 = (int)threadIdx.x;
    __shared__ __align__(16) float s0_shared[4];
    __shared__ __align__(16) float s1_shared[4];
    float s0 = 0.0f;
    for (int j0k = 0; j0k < 3; j0k++) {
        const int i0_ = j0k * 128;
        if ((i0_ + local_0) < 300) {
            s0 = s0 + a0[((group_0 * 300) + i0_) + local_0];
        }
    }
    const float s0_from = __shfl_xor_sync(0xffffffffu, s0, 16);
    s0 = s0 + s0_from;
    const float s0_from_1 = __shfl_xor_sync(0xffffffffu, s0, 8);
    s0 = s0 + s0_from_1;
    const float s0_from_2 = __shfl_xor_sync(0xffffffffu, s0, 4);
    s0 = s0 + s0_from_2;
    const float s0_from_3 = __shfl_xor_sync(0xffffffffu, s0, 2);
    s0 = s0 + s0_from_3;
    const float s0_from_4 = __shfl_xor_sync(0xffffffffu, s0, 1);
    s0 = s0 + s0_from_4;
    const bool m0_ = (local_0 & 31) == 0;
    if (m0_) {
        s0_shared[local_0 >> 5] = s0;
    }
    __syncthreads();
    s0 = s0_shared[0];
    for (int warp = 0; warp < 3; warp++) {
        s0 = s0 + s0_shared[warp + 1];
    }
    float s1 = 0.0f;
    for (int j0k_1 = 0; j0k_1 < 3; j0k_1++) {
        const int i1_ = j0k_1 * 128;
        if ((i1_ + local_0) < 300) {
            const float t0_ = a0[((group_0 * 300) + i1_) + local_0] - (s0 / 300.0f);
            s1 = s1 + (t0_ * t0_);
        }
    }
    const float s1_from = __shfl_xor_sync(0xffffffffu, s1, 16);
    s1 = s1 + s1_from;
    const float s1_from_1 = __shfl_xor_sync(0xffffffffu, s1, 8);
    s1 = s1 + s1_from_1;
    const float s1_from_2 = __shfl_xor_sync(0xffffffffu, s1, 4);
    s1 = s1 + s1_from_2;
    const float s1_from_3 = __shfl_xor_sync(0xffffffffu, s1, 2);
    s1 = s1 + s1_from_3;
    const float s1_from_4 = __shfl_xor_sync(0xffffffffu, s1, 1);
    s1 = s1 + s1_from_4;
    if (m0_) {
        s1_shared[local_0 >> 5] = s1;
    }
    __syncthreads();
    s1 = s1_shared[0];
    for (int warp_1 = 0; warp_1 < 3; warp_1++) {
        s1 = s1 + s1_shared[warp_1 + 1];
    }
    for (int j0k_2 = 0; j0k_2 < 3; j0k_2++) {
        const int i2_ = j0k_2 * 128;
        const int i3_ = i2_ + local_0;
        if (i3_ < 300) {
            const int i4_ = ((group_0 * 300) + i2_) + local_0;
            a3[i4_] = ((a1[i3_] * (a0[i4_] - (s0 / 300.0f))) / sqrtf((s1 / 300.0f) + 1e-05f)) + a2[i3_];
        }
    }
}
